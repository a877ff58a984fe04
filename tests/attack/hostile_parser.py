"""A parser process that a file has taken over: it answers what it likes, by the operation."""

import json
import os
import pickle
import sys

ANSWERS = {
    "nonsense": b"\x80\x04 nonsense\n",
    "pickled": pickle.dumps({"outcome": "ok", "n_bytes": 0, "is_full": False}) + b"\n",
    "line without end": b"x" * 100_000,
    "gigabytes": b'{"outcome": "ok", "n_bytes": 4000000000, "is_full": false}\n',
    "less than nothing": b'{"outcome": "ok", "n_bytes": -1, "is_full": false}\n',
    "less than announced": b'{"outcome": "ok", "n_bytes": 9, "is_full": false}\nabc',
    "document": b'{"outcome": "ok", "n_bytes": 14, "is_full": false}\n{"title": [1]}',
}


def main():
    """Say that all is well, then answer one request."""
    sys.stdout.buffer.write(b'{"outcome": "ok", "n_bytes": 0, "is_full": false}\n')
    sys.stdout.buffer.flush()
    request = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(ANSWERS[request["operation"]])
    sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
