"""
Replaces itself by the command in its arguments, after ending what a predecessor left.

A program that is killed with -9 can't take its children along: vLLM's engine would keep
gigabytes, a trainer's child a core.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    sys.path[0] = root  # run as a file, for a start in 0.1 s
    from stack.leftovers import MARK, end_processes, find_leftovers

    home, program = Path(os.environ[MARK]), os.environ["SUPERVISOR_PROCESS_NAME"]
    end_processes(find_leftovers(home, program), grace_s=3.0)
    # Nor does it take its socket along, and vLLM does not bind to one that is there.
    (home / program / f"{program}.sock").unlink(missing_ok=True)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - our own fixed command
