"""Processes of a stack that outlived their supervisor or their parent: found by a mark, ended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "RATCHET_SUPERVISED"
# These overwrite their environment with their title, so they are known by where they work.
SERVERS = {"postgres": "postgres", "redis-server": "redis"}


def find_leftovers(home: Path, program: str | None = None) -> list[psutil.Process]:
    """Return the running processes of the stack in `home`, of one program or of all."""
    found = []
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _belongs(process, home, program):
            found.append(process)
    return found


def end_processes(processes: Iterable[psutil.Process], grace_s: float = 10.0) -> None:
    """Ask the processes to stop; kill those that have not after `grace_s` seconds."""
    alive = list(processes)
    for process in alive:
        _signal(process, "terminate")
    _, alive = psutil.wait_procs(alive, timeout=grace_s)
    for process in alive:
        _signal(process, "kill")
    psutil.wait_procs(alive, timeout=grace_s)


def _belongs(process: psutil.Process, home: Path, program: str | None) -> bool:
    try:
        folder = SERVERS.get(process.name())
        if folder and program in (None, folder) and process.cwd() == str(home / folder):
            return process.status() != psutil.STATUS_ZOMBIE
        env = process.environ()
        if env.get(MARK) != str(home) or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return program is None or env.get("SUPERVISOR_PROCESS_NAME") == program
    except (psutil.Error, OSError):  # gone meanwhile, or another person's
        return False


def _signal(process: psutil.Process, action: str) -> None:
    try:
        getattr(process, action)()
    except psutil.NoSuchProcess:
        return
