"""What must hold before a stack can start, each with what to do when it doesn't."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.errors import ConfigurationError
from core.settings import ROOT, Settings
from stack.programs import is_local_model, vllm_is_for_cpu

GIB = 2**30
MIN_FREE_DISK = 1 * GIB
MIN_MEMORY = 6 * GIB
# A unix socket's path has at most 107 bytes; the longest of ours is postgres/.s.PGSQL.5432.
MAX_HOME_BYTES = 107 - len("/postgres/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `problem` is empty when all is well."""

    name: str
    found: str
    problem: str = ""
    blocks_start: bool = True


def run_checks(settings: Settings, *, is_running: bool) -> list[Check]:
    """Return all checks; ports are ours to use while our own stack is running."""
    checks = [
        *(_home_path(settings), _home_writable(settings), _disk(settings), _model(settings)),
        *(_python(), _packages(), _memory(), _gpu()),
    ]
    return checks if is_running else [*checks, *_ports(settings)]


def require_home(settings: Settings) -> None:
    """
    Make the home folder if it is missing.

    Raises:
        ConfigurationError: Its path is too long, or it can't be written to.
    """
    for look in (_home_path, _home_writable):
        _raise_if_blocking(look(settings))


def require_startable(settings: Settings) -> None:
    """
    Check disk, model and ports before anything is started.

    Raises:
        ConfigurationError: The first problem that would keep the stack from starting.
    """
    for check in (_disk(settings), _model(settings), *_ports(settings)):
        _raise_if_blocking(check)


def _raise_if_blocking(check: Check) -> None:
    if check.problem and check.blocks_start:
        raise ConfigurationError(check.problem)


def _home_path(settings: Settings) -> Check:
    n_bytes = len(os.fsencode(settings.home))
    problem = (
        f"the path {settings.home} is too long for unix sockets ({n_bytes} bytes, "
        f"at most {MAX_HOME_BYTES}); set RATCHET_HOME to a shorter one"
        if n_bytes > MAX_HOME_BYTES
        else ""
    )
    return Check("home path", f"{settings.home} ({n_bytes} bytes)", problem)


def _home_writable(settings: Settings) -> Check:
    problem = ""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = settings.home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as exc:
        problem = (
            f"the folder {settings.home} can't be written to ({exc.strerror}); "
            "set RATCHET_HOME to one that can"
        )
    return Check("home folder", "can't be written to" if problem else "writable", problem)


def _disk(settings: Settings) -> Check:
    there = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(there).free
    problem = (
        f"only {free / GIB:.1f} GiB are free on the disk of {settings.home}, at least "
        f"{MIN_FREE_DISK / GIB:.0f} GiB are needed; make room or move RATCHET_HOME"
        if free < MIN_FREE_DISK
        else ""
    )
    return Check("disk", f"{free / GIB:.1f} GiB free", problem)


def _model(settings: Settings) -> Check:
    if settings.vllm_url:
        return Check("model", f"served by {settings.vllm_url}")
    if not is_local_model(settings.model):
        return Check("model", f"{settings.model} (from a model hub)")
    folder, problem = Path(settings.model), ""
    if not folder.is_dir():
        problem = f"the model folder {folder} does not exist; set RATCHET_MODEL to one that does"
    elif not (folder / "config.json").is_file():
        problem = f"{folder} has no config.json, so it is no model; set RATCHET_MODEL to one"
    return Check("model", str(folder), problem)


def _ports(settings: Settings) -> Iterator[Check]:
    host, port = settings.web_host, settings.web_port
    why = _why_not_bindable(host, port)
    problem = f"port {port} on {host} can't be used ({why}); set RATCHET_WEB_PORT to a free one"
    yield Check("web port", f"{port} {'taken' if why else 'free'}", problem if why else "")


def _why_not_bindable(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as exc:
            return getattr(exc, "strerror", None) or str(exc)
    return ""


def _python() -> Check:
    right = sys.version_info[:2] == (3, 11)
    problem = "" if right else "Python 3.11 is needed; remove .venv and run `make setup`"
    return Check("python", platform.python_version(), problem)


def _packages() -> Check:
    lock = ROOT / ("requirements.lock" if vllm_is_for_cpu() else "requirements-cuda.lock")
    if not lock.is_file():
        return Check("packages", "installed without the lock they were tested with", "")
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.MULTILINE)
    wrong = [f"{name} {version}" for name, version in pinned if _installed(name) != version]
    shown = ", ".join(wrong[:3]) + (" …" if len(wrong) > 3 else "")
    problem = f"not as {lock.name} says: {shown}; run `make setup`" if wrong else ""
    return Check("packages", f"{len(pinned) - len(wrong)} of {len(pinned)} as locked", problem)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory() -> Check:
    available = psutil.virtual_memory().available
    problem = (
        f"the stack needs about {MIN_MEMORY / GIB:.0f} GiB of memory; close other programs"
        if available < MIN_MEMORY
        else ""
    )
    return Check("memory", f"{available / GIB:.1f} GiB available", problem, blocks_start=False)


def _gpu() -> Check:
    build = "CPU" if vllm_is_for_cpu() else "CUDA"
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=10)
        names = done.stdout.split("\n")[0] if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        names = ""
    found = f"{names or 'no NVIDIA GPU'}; {build} build of vLLM"
    problem = ""
    if bool(names) == (build == "CPU"):
        problem = "the installed build does not fit this machine; run `make clean setup`"
    return Check("GPU", found, problem, blocks_start=False)
