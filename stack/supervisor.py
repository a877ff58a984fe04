"""supervisord: its configuration, starting it, talking to it, ending it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from core.errors import StackError
from core.settings import ROOT, Settings
from stack.programs import Program, programs, stack_environment

SHUTDOWN_TIMEOUT_S = 60.0
# "(EngineCore pid=7) ERROR 11-21 03:41:03 [core.py:1]" before a line of vLLM's
LOG_PREFIX = re.compile(r"^\([\w ]+ pid=\d+\) ?([A-Z]+ \S+ \S+ \[[^]]*\] ?)?")
CAUSE = re.compile(r"[\w.]*(Error|Exception)\b.*:|.*\bFATAL:|.*\bFatal error")
N_RETRIES = 1000  # waits grow by a second each time, so this is "go on trying"


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What supervisord knows of one program."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL …
    pid: int | None
    uptime_s: float
    restarts: int  # since the stack was started
    detail: str


def folder(settings: Settings) -> Path:
    """Return the supervisor's own folder: socket, configuration, pid file, log."""
    return settings.home / "supervisor"


def is_running(settings: Settings) -> bool:
    """Whether a supervisor answers for this home."""
    try:
        return bool(_rpc(settings).getState()["statename"] == "RUNNING")
    except (OSError, RpcError):
        return False


def start(settings: Settings) -> None:
    """
    Start a supervisor in the background and wait until it answers.

    Raises:
        StackError: It ended at once; the text holds its last words.
    """
    config = folder(settings) / "supervisord.conf"
    config.write_text(_config(settings))
    (folder(settings) / "supervisord.log").write_text("")  # restarts are counted from here
    (folder(settings) / "sock").unlink(missing_ok=True)
    output = settings.home / "logs" / "supervisord.out"
    with output.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(config)],
            env=stack_environment(settings),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not is_running(settings):
        if child.poll() is not None:
            words = output.read_text().strip().splitlines() or ["no output"]
            raise StackError(f"the supervisor did not start: {words[-1]}; see {output}")
        time.sleep(0.05)


def start_program(settings: Settings, name: str) -> None:
    """Have the supervisor start one program and keep it running; returns at once."""
    _rpc(settings).startProcess(name, False)


def process_infos(settings: Settings) -> dict[str, ProcessInfo]:
    """Return what the supervisor knows by program name; empty when none is running."""
    try:
        rows = _rpc(settings).getAllProcessInfo()
    except (OSError, RpcError):
        return {}
    spawned = _count_spawns(settings)
    return {row["name"]: _info(row, spawned[row["name"]]) for row in rows}


def shut_down(settings: Settings) -> bool:
    """
    Stop all programs and the supervisor; return whether there was one to stop.

    Programs are stopped in the opposite order of their start, the database last.
    """
    try:
        _rpc(settings).shutdown()
    except (OSError, RpcError):
        return False
    deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
    pid_file = folder(settings) / "supervisord.pid"
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return True


def last_words(settings: Settings, name: str) -> str:
    """Return the line of a program's log that most likely says why it ended."""
    log = settings.home / "logs" / f"{name}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [LOG_PREFIX.sub("", line).rstrip() for line in text.splitlines()[-150:]]
    for line, following in pairwise([*lines, ""]):
        if CAUSE.match(line):  # the first one: those after it only pass it on
            told_there = following.strip() if following.startswith("  ") else ""
            return f"{line} {told_there}".strip()[:300]
    return next((line for line in reversed(lines) if line), "it wrote nothing")[:300]


def _rpc(settings: Settings) -> Any:
    transport = SupervisorTransport(serverurl=f"unix://{folder(settings) / 'sock'}")
    return ServerProxy("http://localhost", transport=transport).supervisor


def _info(row: dict[str, Any], n_spawned: int) -> ProcessInfo:
    alive = row["pid"] > 0
    return ProcessInfo(
        name=row["name"],
        state=row["statename"],
        pid=row["pid"] or None,
        uptime_s=float(row["now"] - row["start"]) if alive else 0.0,
        restarts=max(0, n_spawned - 1),
        detail=row["spawnerr"] or ("" if alive else row["description"]),
    )


def _count_spawns(settings: Settings) -> Counter[str]:
    log = folder(settings) / "supervisord.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    return Counter(re.findall(r"INFO spawned: '(\w+)' with pid", text))


def _config(settings: Settings) -> str:
    here = folder(settings)
    head: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": here / "sock", "chmod": "0700"},
        "supervisord": {
            "logfile": here / "supervisord.log",
            "logfile_maxbytes": 0,
            "pidfile": here / "supervisord.pid",
            "childlogdir": settings.home / "logs",
            "identifier": "ratchet",
            **({"user": "root"} if os.geteuid() == 0 else {}),
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    sections = {
        **head,
        **{f"program:{p.name}": _section(settings, p) for p in programs(settings)},
    }
    return "\n".join(
        "\n".join([f"[{title}]", *(f"{key}={_escaped(value)}" for key, value in body.items()), ""])
        for title, body in sections.items()
    )


def _section(settings: Settings, program: Program) -> dict[str, object]:
    return {
        "command": shlex.join(program.command),
        "directory": ROOT,
        "environment": ",".join(f'{key}="{value}"' for key, value in program.env.items()),
        "priority": program.order,
        "autostart": str(not program.needs_schema).lower(),
        "autorestart": "true",
        "startsecs": program.settle_s,
        "startretries": N_RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_wait_s,
        # Celery's and Postgres's children must not get their parents' QUIT and INT.
        "stopasgroup": str(program.stop_signal == "TERM").lower(),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": settings.home / "logs" / f"{program.name}.log",
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": 2,
        **({"user": program.user} if program.user else {}),
    }


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")  # supervisord expands %(name)s
