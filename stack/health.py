"""How the stack is doing, asked of the services themselves and not only of the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import httpx
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from core.settings import BROKER_PREFIX, Settings
from core.vllm import split_url
from stack import postgres, supervisor
from stack.leftovers import find_leftovers
from stack.programs import programs
from stack.supervisor import ProcessInfo

TIMEOUT_S = 2.0
STARTING_S = {"vllm": 180.0}  # how long a program may take until it answers
DEFAULT_STARTING_S = 60.0
ORDER = ("postgres", "redis", "vllm", "worker", "trainer", "beat", "web")


class ServiceState(StrEnum):
    """How a service is doing."""

    HEALTHY = "healthy"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"  # it runs and does not answer
    RESTARTING = "restarting"  # it died and waits for its next start
    STOPPED = "stopped"
    AWAY = "away"  # somebody else runs it, and it does not answer


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as `ratchet status` shows it."""

    name: str
    state: ServiceState
    pid: int | None
    uptime_s: float
    restarts: int
    detail: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """All services, whether every one is healthy, and where the page is."""

    services: list[ServiceStatus]
    healthy: bool
    url: str


def page_url(settings: Settings) -> str:
    """Return the address that a browser on this machine opens."""
    return f"http://{_reachable(settings.web_host)}:{settings.web_port}"


def status(settings: Settings) -> StackStatus:
    """Ask every service and return how each is doing; takes about two seconds at most."""
    infos = supervisor.process_infos(settings)
    absence = "" if infos else _absence(settings)
    supervised = {program.name for program in programs(settings)}
    looks = _looks(settings)
    with ThreadPoolExecutor(len(looks)) as pool:
        waiting = {
            name: pool.submit(look)
            for name, look in looks.items()
            if name not in supervised or _is_alive(infos.get(name))
        }
        why_not = {name: future.result() for name, future in waiting.items()}
    services = [
        _service(name, infos.get(name), why_not.get(name, absence), name in supervised)
        for name in ORDER
    ]
    healthy = all(service.state is ServiceState.HEALTHY for service in services)
    return StackStatus(services, healthy, page_url(settings))


def why_unhealthy(settings: Settings, name: str) -> str:
    """Return "" when the named service answers, else one line saying why not."""
    return _looks(settings)[name]()


def _looks(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "postgres": lambda: postgres.answers(settings.dsn),
        "redis": lambda: _broker(settings),
        "vllm": lambda: _http(settings.vllm_base_url),
        "worker": lambda: _celery(settings, "worker"),
        "trainer": lambda: _celery(settings, "trainer"),
        "beat": lambda: "",
        # 503 is the page saying that the database or the model is away: theirs to show.
        "web": lambda: _http(page_url(settings), (200, 503)),
    }


def _service(
    name: str, info: ProcessInfo | None, why_not: str, is_supervised: bool
) -> ServiceStatus:
    if not is_supervised:
        state = ServiceState.AWAY if why_not else ServiceState.HEALTHY
        return ServiceStatus(name, state, None, 0.0, 0, why_not or "external")
    if info is None:
        return ServiceStatus(name, ServiceState.STOPPED, None, 0.0, 0, why_not)
    healthy, detail = ServiceState.HEALTHY, info.detail or why_not
    found = ServiceStatus(name, healthy, info.pid, info.uptime_s, info.restarts, detail)
    if info.pid is None:
        is_waiting = info.state in ("BACKOFF", "STARTING", "EXITED")
        return replace(found, state=ServiceState.RESTARTING if is_waiting else ServiceState.STOPPED)
    if not why_not:
        return replace(found, detail=f"restarted {info.restarts}×" if info.restarts else "")
    is_young = info.uptime_s < STARTING_S.get(name, DEFAULT_STARTING_S)
    return replace(found, state=ServiceState.STARTING if is_young else ServiceState.UNHEALTHY)


def _absence(settings: Settings) -> str:
    if find_leftovers(settings.home):
        return "supervisor killed; run `ratchet down`"
    return "not running"


def _is_alive(info: ProcessInfo | None) -> bool:
    return info is not None and info.pid is not None


def _http(url: str, well: tuple[int, ...] = (200,)) -> str:
    address, socket = split_url(url)
    transport = httpx.HTTPTransport(uds=socket)
    try:
        with httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False) as http:
            code = http.get(f"{address}/health").status_code
    except httpx.HTTPError as exc:
        return f"{url}: {exc or type(exc).__name__}"
    return "" if code in well else f"{url} answers {code}"


def _broker(settings: Settings) -> str:
    connection: Any = Connection(settings.broker, connect_timeout=TIMEOUT_S)  # type: ignore[no-untyped-call]
    try:
        connection.ensure_connection(max_retries=1, timeout=TIMEOUT_S)
        connection.default_channel.close()
    except (OperationalError, OSError) as exc:
        return f"the broker does not answer: {exc}"
    finally:
        connection.release()
    return ""


def _celery(settings: Settings, role: str) -> str:
    app = Celery(broker=settings.broker, set_as_current=False)
    if settings.broker.startswith("redis"):
        app.conf.broker_transport_options = {"global_keyprefix": BROKER_PREFIX}
    name = f"{role}@ratchet"
    try:
        replies = app.control.ping([name], timeout=TIMEOUT_S)
    except (OperationalError, OSError) as exc:
        return f"the broker does not answer: {exc}"
    finally:
        app.close()
    return "" if replies else f"{name} does not answer"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - read, not bound
