"""
The process that parses other people's bytes: `python -m retrieval.parser_main MEMORY_BYTES`.

Each request on stdin is a line of JSON and the bytes it announces; each answer on stdout is the
same. It holds no secret, writes no file, and ends when its stdin does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

from tokenizers import Tokenizer

from core.errors import DocumentError
from retrieval.chunk import contextual_text, split
from retrieval.formats import parse_bytes
from retrieval.load import LoadedDocument
from retrieval.pages import as_utf8, read_links, read_sitemap
from retrieval.parsed import Cut, ReadPage, Sitemap
from retrieval.robots import Robots, read_robots

MAX_COUNTED = 10_000  # texts whose length is remembered; headings and blocks come up repeatedly
MAX_REASON_CHARS = 500
# What a parser has freed stays with the process; from here on the next one had too little left.
MUCH_MEMORY = 0.5
NEARLY_ALL_MEMORY = 0.8


class Operations:
    """What may be asked for, by name: `ask(name, raw, args)`; results are dataclasses of text."""

    def __init__(self) -> None:
        self._tokenizer: Any = None

    def ask(self, name: str, raw: bytes, args: dict[str, Any]) -> Any:
        """Do one operation; raises whatever the parsers raise."""
        known: dict[str, Callable[..., Any]] = {
            "tokenizer": self._keep_tokenizer,
            "document": _read_document,
            "cut": self._cut,
            "page": _read_page,
            "sitemap": _read_sitemap,
            "robots": _read_robots,
        }
        return known[name](raw, **args)

    def _keep_tokenizer(self, raw: bytes) -> None:
        self._tokenizer = Tokenizer.from_str(raw.decode())

    def _cut(self, raw: bytes, *, title: str, max_tokens: int) -> Cut:
        @lru_cache(MAX_COUNTED)
        def count_tokens(text: str) -> int:
            return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

        chunks = split(LoadedDocument("", title, "", raw.decode()), count_tokens, max_tokens)
        return Cut(chunks, [contextual_text(title, chunk, count_tokens) for chunk in chunks])


def _read_document(raw: bytes, *, name: str) -> LoadedDocument:
    return parse_bytes(raw, uri="", name=name)


def _read_page(raw: bytes, *, charset: str) -> ReadPage:
    html = as_utf8(raw, charset).decode()
    return ReadPage(read_links(html), html)


def _read_sitemap(raw: bytes, *, max_bytes: int) -> Sitemap:
    return Sitemap(*read_sitemap(raw, max_bytes))


def _read_robots(raw: bytes) -> Robots:
    return read_robots(raw.decode("utf-8", "replace"))


def answer(operations: Operations, request: dict[str, Any], raw: bytes) -> tuple[str, bytes]:
    """Return ("ok", the result), ("refused", why) or ("memory", nothing)."""
    try:
        result = operations.ask(request["operation"], raw, request["args"])
        return "ok", _as_json(result)
    except Exception as exc:  # noqa: BLE001 - parsers raise anything; the next one is unharmed
        if _lacked_memory(exc) or _memory_used("VmPeak") > NEARLY_ALL_MEMORY:
            return "memory", b""
        known = isinstance(exc, DocumentError)
        reason = str(exc) if known else f"can't be read ({type(exc).__name__})"
        return "refused", " ".join(reason.split())[:MAX_REASON_CHARS].encode("utf-8", "replace")


def _as_json(result: Any) -> bytes:
    text = json.dumps(result, ensure_ascii=False, default=dataclasses.asdict)
    return text.encode("utf-8", "replace")


def _lacked_memory(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, MemoryError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _memory_used(which: str) -> float:
    """Return the share of the memory limit that is used now (VmSize) or was at most (VmPeak)."""
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/status", encoding="ascii") as status:
        used_kib = next(int(line.split()[1]) for line in status if line.startswith(f"{which}:"))
    return used_kib * 1024 / limit_bytes


def _limit_forever(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes to pipes only


def _limit_next(seconds: float) -> None:
    """Bound one request's CPU time, in case no parent is left to end this process in time."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    until_s = int(spent.ru_utime + spent.ru_stime + seconds) + 5
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until_s, most))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    operations = Operations()
    _send(answers, "ok", b"")  # the imports are done
    while line := requests.readline():
        request = json.loads(line)
        _limit_next(request["seconds"])
        _send(answers, *answer(operations, request, requests.read(request["n_bytes"])))


def _send(answers: BinaryIO, outcome: str, payload: bytes) -> None:
    full = _memory_used("VmSize") > MUCH_MEMORY
    header = {"outcome": outcome, "n_bytes": len(payload), "is_full": full}
    answers.write(json.dumps(header).encode() + b"\n" + payload)
    answers.flush()


def main() -> None:
    """Set the limits, then serve; what a library prints must not get between the answers."""
    _limit_forever(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
