"""Brings every model server to what the rows say should serve: load, smoke, switch, unload."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stamina
from psycopg import Connection

from core import learning, turns
from core.audit import Action, record
from core.base_model import read_base_model
from core.db import Database
from core.errors import AdapterError, ModelUnavailable, RatchetError, StackError
from core.settings import Settings
from core.types import Adapter, Deployment, DeploymentState, ServerState
from core.vllm import BASE, VllmClient
from core.work import HeldJob
from training import promotion, registry
from training.smoke import smoke

REQUEST_TIMEOUT_S = 30.0
GIVE_UP_AFTER_S = 180.0  # a restart of a model server takes up to a minute
LOOK_EVERY_S = 0.2


def bring(db: Database, settings: Settings) -> list[str]:
    """
    Make every model server hold what should serve, and let what is ready everywhere go live.

    Returns one line per change. Called every few seconds, by any worker: one at a time does it,
    and the others have nothing to do. A server that is away is no error, it is asked again
    soon. No transaction is open while a server is asked.
    """
    with _alone(db) as is_ours:
        if not is_ours:
            return []
        with db.connect() as conn:
            left = promotion.leave_changed(conn, settings)
            pending = learning.pending_deployment(conn)
        changes = [f"made {left.adapter_name or BASE} live; {left.reason}"] if left else []
        if pending:
            for server in settings.vllm_urls:
                _prepare(db, settings, pending, server)
            changes += _settle(db, settings, pending.id)
        for server in settings.vllm_urls:
            changes += _tidy(db, settings, server)
    return changes


def carry_out(held: HeldJob, settings: Settings) -> dict[str, Any]:
    """Carry out the job that comes with each row of what should serve."""
    return {"changes": bring(held.db, settings)}


def wait_until_live(
    db: Database, deployment_id: int, timeout_s: float, each: Callable[[], object] = lambda: None
) -> Deployment:
    """
    Wait for a pending deployment to go live; `each` is called between looks and may raise.

    Raises:
        AdapterError: It failed, or something else went live instead.
        ModelUnavailable: A model server did not answer within the time.
        StackError: No worker took it within the time.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        each()
        with db.connect() as conn:
            row = learning.get_deployment(conn, deployment_id)
            servers = learning.server_states(conn, deployment_id)
        name = row.adapter_name or BASE
        if row.state is DeploymentState.FAILED:
            raise AdapterError(f"{name} did not go live: {row.failure}")
        if row.state is DeploymentState.SUPERSEDED and row.ready_at is None:
            raise promotion.NotPromotable(f"{name} did not go live: another model did meanwhile")
        if row.state is not DeploymentState.PENDING:
            return row
        if time.monotonic() > deadline_s:
            raise _late(name, timeout_s, [reason for _, reason in servers.values() if reason])
        time.sleep(LOOK_EVERY_S)


def client(settings: Settings, server: str = "") -> VllmClient:
    """Return a client of a model server, else of the first one; close it after use."""
    url = server or settings.vllm_base_url
    return VllmClient(url, settings.vllm_key, timeout_s=REQUEST_TIMEOUT_S)


def wait_until_healthy(
    vllm: VllmClient, timeout_s: float, check: Callable[[], None] = lambda: None
) -> None:
    """
    Wait for vLLM, as after its restart; `check` is called between tries and may raise.

    Raises:
        ModelUnavailable: It did not come within the time.
    """
    away = f"vLLM did not answer for {timeout_s:.0f} s; see its log"
    for attempt in stamina.retry_context(
        on=ModelUnavailable, attempts=None, timeout=timeout_s, wait_initial=1, wait_max=1
    ):
        with attempt:
            check()
            if not vllm.healthy():
                raise ModelUnavailable(away)


def ensure_loaded(vllm: VllmClient, name: str, path: str) -> None:
    """
    Load an adapter unless it is loaded.

    Raises:
        AdapterError: vLLM refused it, or holds another one under this name.
    """
    loaded = vllm.adapter_paths()
    if name not in loaded:
        vllm.load_adapter(name, path)
    elif loaded[name] != path:
        raise AdapterError(
            f"vLLM holds another {name}, from {loaded[name]}; restart vLLM to forget it"
        )


@contextmanager
def _alone(db: Database) -> Iterator[bool]:
    """Yield whether no other worker is bringing the servers there; none can until this ends."""
    with db.connect() as conn:
        is_ours = learning.try_lock_bringing(conn)
        try:
            yield is_ours
        finally:
            if is_ours:
                learning.unlock_bringing(conn)


def _prepare(db: Database, settings: Settings, row: Deployment, server: str) -> None:
    """Load and smoke on one server what shall go live; how far it came is in the server's row."""
    state, reason = ServerState.READY, ""
    try:
        with db.connect() as conn:
            adapter = learning.get_adapter(conn, row.adapter_name) if row.adapter_name else None
        with closing(client(settings, server)) as vllm:
            if adapter:
                _hold(vllm, adapter, vllm.adapter_paths(), [])
            smoke(vllm, settings, row.adapter_name or BASE)
    except ModelUnavailable as exc:  # it may be restarting
        is_late = (datetime.now(UTC) - row.created_at).total_seconds() > GIVE_UP_AFTER_S
        state, reason = (ServerState.FAILED if is_late else ServerState.PENDING), str(exc)
    except RatchetError as exc:
        state, reason = ServerState.FAILED, str(exc)
    with db.connect() as conn:
        learning.note_server(conn, row.id, server, state, reason)


def _settle(db: Database, settings: Settings, deployment_id: int) -> list[str]:
    """Let a deployment go live that every server is ready for, or end it with the reason."""
    with db.connect() as conn:
        learning.lock_deployments(conn)
        row = learning.get_deployment(conn, deployment_id)
        if row.state is not DeploymentState.PENDING:
            return []  # something else was asked for meanwhile
        name = row.adapter_name or BASE
        servers = learning.server_states(conn, row.id)
        failures = [why for state, why in servers.values() if state is ServerState.FAILED]
        failures += _obstacles(conn, settings, row)
        if failures:
            learning.fail_deployment(conn, row.id, "; ".join(failures))
            return [f"{name} did not go live: {'; '.join(failures)}"]
        if any(servers[url][0] is not ServerState.READY for url in settings.vllm_urls):
            return []
        learning.make_live(conn, row.id)
        record(conn, row.actor, Action.ADAPTER_PROMOTED, name, reason=row.reason)
    return [f"made {name} live"]


def _obstacles(conn: Connection[Any], settings: Settings, row: Deployment) -> list[str]:
    """Return what has come up since it was asked for, as the ejection of a rater."""
    if row.adapter_name is None:
        return []
    try:
        promotion.require_servable(conn, read_base_model(settings.model), row.adapter_name)
    except RatchetError as exc:
        return [str(exc)]
    return []


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the model servers should hold."""

    resident: list[Adapter]  # the live and the previous one
    in_use: set[str]  # these may be there besides: going live, writing an answer, on trial
    ours: set[str]  # all that we ever registered; what is not ours is left alone


def _wanted(conn: Connection[Any], settings: Settings) -> _Wanted:
    base = read_base_model(settings.model)
    resident = {learning.serving(conn, base).adapter, learning.previous_live(conn, base)} - {None}
    pending = learning.pending_deployment(conn)
    in_use = turns.streaming_adapters(conn) | learning.adapters_on_trial(conn)
    return _Wanted(
        resident=[learning.get_adapter(conn, name) for name in sorted(filter(None, resident))],
        in_use=in_use | ({pending.adapter_name} if pending and pending.adapter_name else set()),
        ours=learning.adapter_names(conn),
    )


def _tidy(db: Database, settings: Settings, server: str) -> list[str]:
    """Make one server hold the live and the previous adapter, and no longer what nobody needs."""
    with db.connect() as conn:
        wanted = _wanted(conn, settings)
    changes: list[str] = []
    try:
        with closing(client(settings, server)) as vllm:
            loaded = vllm.adapter_paths()
            for adapter in wanted.resident:
                _put_right(vllm, adapter, loaded, changes)
            needed = {adapter.name for adapter in wanted.resident} | wanted.in_use
            for name in sorted(loaded.keys() & wanted.ours - needed):
                vllm.unload_adapter(name)
                changes.append(f"unloaded {name}")
    except ModelUnavailable:
        pass  # asked again soon
    is_one_of_many = len(settings.vllm_urls) > 1
    return [f"{server}: {line}" if is_one_of_many else line for line in changes]


def _put_right(
    vllm: VllmClient, adapter: Adapter, loaded: dict[str, str], changes: list[str]
) -> None:
    """Make vLLM hold exactly this adapter under its name, or nothing; append what was done."""
    name = adapter.name
    try:
        _hold(vllm, adapter, loaded, changes)
    except AdapterError as exc:  # the other one can still be put right
        changes.append(f"could not load {name}: {exc}")
        # Files that are gone, as with a volume that is away, say nothing about what is loaded.
        if loaded.get(name) == adapter.path and registry.is_changed(adapter):
            vllm.unload_adapter(name)
            changes.append(f"unloaded {name}")


def _hold(vllm: VllmClient, adapter: Adapter, loaded: dict[str, str], changes: list[str]) -> None:
    """
    Load the adapter from our folder, unchanged, unless just that is loaded.

    A name alone proves nothing: whoever reached the server may have loaded other weights
    under it, and whoever reached the folder may have changed the files.
    """
    name = adapter.name
    if name in loaded and loaded[name] != adapter.path:
        vllm.unload_adapter(name)
        changes.append(f"unloaded a foreign {name}, which came from {loaded[name]}")
    registry.verify_unchanged(adapter)
    if loaded.get(name) != adapter.path:
        vllm.load_adapter(name, adapter.path)
        changes.append(f"loaded {name}")


def _late(name: str, timeout_s: float, reasons: list[str]) -> RatchetError:
    if reasons:
        return ModelUnavailable(f"{name} is not live after {timeout_s:.0f} s: {reasons[0]}")
    return StackError(
        f"no worker has taken {name} in {timeout_s:.0f} s; it goes live when one does: "
        "see `ratchet status`"
    )
