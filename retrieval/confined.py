"""A child process with a memory limit, a deadline and no secrets; it answers with bounded bytes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from core.errors import DocumentError, RatchetError
from core.settings import ROOT

START_S = 60.0  # the imports take one second, many on a busy machine
MAX_HEADER_BYTES = 1000
# Nothing else of our environment reaches the process: passwords and keys stand there.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one request may cost: time on the clock, all memory of the process, its answer."""

    seconds: float = 20.0
    seconds_per_mb: float = 3.0  # more of what is sent: an honest text of 20 MB takes 40 s
    memory_bytes: int = 1536 * 2**20
    answer_bytes: int = 64 * 2**20


LIMITS = ProcessLimits()


class NoAnswer(DocumentError):
    """The process was ended over this request, or ended itself; the text suits "NAME …"."""


@dataclass(frozen=True, slots=True)
class _Header:
    outcome: str  # "ok", "refused", "memory"
    n_bytes: int  # that follow
    is_full: bool  # the process holds so much memory that the next request would lack it


_HEADER = TypeAdapter(_Header)


class ConfinedProcess:
    """
    At most one process: started by the first request, again after one that had to be ended.

    The module sets its own limits before it reads anything (see `parser_main`); here its time
    is kept, its answers are bounded, and it is ended with us: its stdin closes. The protocol
    is a line of JSON and the bytes it announces, both ways, so nothing sent back is ever run.
    """

    def __init__(self, module: str, limits: ProcessLimits) -> None:
        self._module, self._limits = module, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True  # a thread that nobody waited for must not start another process
        self.close()

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._process.pid if self._process else None

    def ask(self, operation: str, raw: bytes, **args: Any) -> bytes:
        """
        Send a request and return the answer's bytes.

        Raises:
            NoAnswer: It took more time or memory than there is, or answered without bounds.
            DocumentError: The process refused it, for the reason in the text.
        """
        if self._process is None:
            self._start()
        seconds = self._limits.seconds + self._limits.seconds_per_mb * len(raw) / 2**20
        request = {
            "operation": operation,
            "args": args,
            "n_bytes": len(raw),
            "seconds": seconds,
        }
        header, answer = self._exchange(seconds, request, raw)
        if header.is_full or header.outcome == "memory":
            self.close()
        if header.outcome == "refused":
            raise DocumentError(answer.decode("utf-8", "replace"))
        if header.outcome != "ok":
            raise NoAnswer(f"needs more than {self._memory_gb} of memory to read; split it")
        return answer

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what it did not take any more
                pipe.close()
        process.wait()

    def _prepare(self) -> None:
        """Send what each new process must know first."""

    def _start(self) -> None:
        if self._is_over:
            raise NoAnswer("was not read to its end; ingest it again")
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, str(self._limits.memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        )
        try:
            self._exchange(START_S)
            self._prepare()
        except DocumentError as exc:
            raise RatchetError(f"the process that reads articles does not start: it {exc}") from exc

    def _exchange(
        self, seconds: float, request: dict[str, Any] | None = None, raw: bytes = b""
    ) -> tuple[_Header, bytes]:
        """Send a request, none at the start, and return the answer; raises NoAnswer."""
        process, late, in_step = self._process, threading.Event(), False
        assert process is not None
        timer = threading.Timer(seconds, _end, (process, late))
        timer.start()
        try:
            if request is not None:
                _send(process, request, raw)
            answer = self._receive(process)
            timer.cancel()
            in_step = not late.is_set()
            return answer
        except (EOFError, OSError) as exc:
            raise NoAnswer(self._why_ended(process, seconds, late.is_set())) from exc
        finally:
            timer.cancel()
            if not in_step:  # the next request must not get what is left of this answer
                self.close()

    def _receive(self, process: subprocess.Popen[bytes]) -> tuple[_Header, bytes]:
        assert process.stdout is not None
        line = process.stdout.readline(MAX_HEADER_BYTES)
        if not line:
            raise EOFError
        try:
            header = _HEADER.validate_json(line, strict=True)
        except ValidationError as exc:
            raise NoAnswer("made its parser answer nonsense; save it anew") from exc
        if not 0 <= header.n_bytes <= self._limits.answer_bytes:
            n_mb = self._limits.answer_bytes / 2**20
            raise NoAnswer(f"unfolds to more than {n_mb:.3g} MB of text; split it")
        answer = process.stdout.read(header.n_bytes)
        if len(answer) < header.n_bytes:
            raise EOFError
        return header, answer

    def _why_ended(self, process: subprocess.Popen[bytes], seconds: float, late: bool) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
        if late or process.returncode == -signal.SIGXCPU:
            return f"takes more than {seconds:.3g} s to read; split or simplify it"
        return f"needs more than {self._memory_gb} of memory to read or is damaged; split it"

    @property
    def _memory_gb(self) -> str:
        return f"{self._limits.memory_bytes / 2**30:.3g} GB"


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _send(process: subprocess.Popen[bytes], request: dict[str, Any], raw: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.write(raw)
    process.stdin.flush()
