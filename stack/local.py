"""`ratchet up` and `down`: the whole stack on one machine, from nothing to a page that answers."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.errors import StackError
from core.secrets import renew_exposed
from core.settings import Settings
from stack import checks, health, postgres, supervisor
from stack.leftovers import end_processes, find_leftovers
from stack.programs import programs

FOLDERS = ("redis", "vllm", "adapters", "datasets", "runs", "logs", "supervisor")
START_TIMEOUT_S = {"vllm": 600.0}  # a first start compiles and may fetch a model
DEFAULT_START_TIMEOUT_S = 180.0
ENDED = ("BACKOFF", "EXITED", "FATAL")  # a supervisor goes on trying; a first start must not

OnStep = Callable[[str, str], None]  # name, and what came of it ("" when it begins)
Work = Callable[[Settings], str]  # does something with the database, returns what in words


def up(settings: Settings, *, migrate: Work, fill: Work, load: Work, on_step: OnStep) -> bool:
    """
    Start the stack and return True once everything answers; False if it was running.

    `migrate` runs as soon as Postgres answers, `fill` (the first articles) after it, both
    while vLLM is still loading, `load` (the live adapter) once it has. When anything fails,
    what was started is stopped again.

    Raises:
        ConfigurationError: A port, path or model is unusable; nothing was started.
        StackError: A program did not start; the text holds its last words.
    """
    checks.require_home(settings)
    with _starting_alone(settings):
        if supervisor.is_running(settings):
            return False
        end_processes(find_leftovers(settings.home))
        checks.require_startable(settings)
        try:
            _start_all(settings, migrate, fill, load, on_step)
        except BaseException:  # Ctrl-C as well: no half stack stays behind
            down(settings)
            raise
    return True


def down(settings: Settings) -> int:
    """
    Stop the stack and return how many processes had to be ended one by one.

    Also finds what a killed supervisor left behind. No process of this home remains.
    """
    supervisor.shut_down(settings)
    leftovers = find_leftovers(settings.home)
    end_processes(leftovers)
    return len(leftovers)


def is_present(settings: Settings) -> bool:
    """Whether any process of this home's stack is there, supervised or left over."""
    return supervisor.is_running(settings) or bool(find_leftovers(settings.home))


def wait(settings: Settings) -> None:
    """Block until the supervisor is gone; Ctrl-C raises KeyboardInterrupt as usual."""
    while supervisor.is_running(settings):
        time.sleep(1.0)


def _start_all(settings: Settings, migrate: Work, fill: Work, load: Work, on_step: OnStep) -> None:
    with _step("folders", on_step) as result:
        result.append(_make_folders(settings))
        supervisor.start(settings)
    with _step("database", on_step) as result:
        _wait_until_healthy(settings, "postgres", admin_dsn(settings))
        if not settings.database_url:
            postgres.ensure_database(admin_dsn(settings), "ratchet")
    with _step("migrations", on_step) as result:
        result.append(migrate(settings))
    for program in programs(settings):
        if program.needs_schema:
            supervisor.start_program(settings, program.name)
    with _step("articles", on_step) as result:
        result.append(fill(settings))
    with _step("model", on_step) as result:
        _wait_until_healthy(settings, "vllm")
        result.append(load(settings))
    for step, names in {"workers": ["worker", "trainer"], "page": ["web"]}.items():
        with _step(step, on_step):
            for name in names:
                _wait_until_healthy(settings, name)


def admin_dsn(settings: Settings) -> str:
    """Return a DSN that works before the product's own database exists."""
    if settings.database_url:
        return settings.database_url
    return f"host={settings.home / 'postgres'} dbname=postgres user=postgres"


def _make_folders(settings: Settings) -> str:
    for name in FOLDERS:
        (settings.home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    renewed = renew_exposed(settings.home)
    for name in ("admin-password", "session-secret", "vllm-api-key"):
        settings.secret(name)
    if not settings.database_url and postgres.prepare_data_folder(settings.home / "postgres"):
        return f"new database in {settings.home / 'postgres'}"
    if renewed:
        return f"made anew, as strangers could read the old ones: {', '.join(renewed)}"
    return str(settings.home)


def _wait_until_healthy(settings: Settings, name: str, dsn: str = "") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S.get(name, DEFAULT_START_TIMEOUT_S)
    log = settings.home / "logs" / f"{name}.log"
    while why := postgres.answers(dsn) if dsn else health.why_unhealthy(settings, name):
        info = supervisor.process_infos(settings).get(name)
        if info and (info.restarts or info.state in ENDED):
            words = supervisor.last_words(settings, name)
            raise StackError(f"{name} does not start: {words}; see {log}")
        if time.monotonic() > deadline:
            raise StackError(f"{name} did not answer in time ({why}); see {log}")
        time.sleep(0.2)


@contextmanager
def _step(name: str, on_step: OnStep) -> Iterator[list[str]]:
    """Report a step's beginning and, with its duration, its end; the body appends its result."""
    on_step(name, "")
    began, result = time.monotonic(), list[str]()
    yield result
    on_step(name, ", ".join([*filter(None, result), f"{time.monotonic() - began:.1f} s"]))


@contextmanager
def _starting_alone(settings: Settings) -> Iterator[None]:
    """Let one `up` at a time work on a home; a second waits and then finds it running."""
    (settings.home / "supervisor").mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.home / "supervisor" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
