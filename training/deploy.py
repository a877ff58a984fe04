"""What is live: load, smoke, switch by one row, roll back, and put right after a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from psycopg import Connection

from core import conversations, learning
from core.audit import Action, record
from core.db import Database
from core.errors import AdapterError, InvalidInput, ModelUnavailable
from core.settings import Settings
from core.types import Adapter, Deployment, DeploymentKind
from core.vllm import BASE, VllmClient
from training import registry
from training.smoke import smoke

REQUEST_TIMEOUT_S = 30.0

WithRow = Callable[[Connection[Any]], None]


class Tainted(AdapterError):
    """The adapter learned from somebody who was ejected since; it does not go live again."""


def promote(
    db: Database,
    settings: Settings,
    name: str,
    *,
    actor: str,
    reason: str = "",
    with_row: WithRow = lambda conn: None,
) -> Deployment:
    """
    Make the adapter live: check its files, load it, ask smoke questions, append one row.

    `with_row` runs in the row's transaction. Turns being written go on with their adapter,
    which stays loaded until they end.

    Raises:
        NotFound: No adapter has this name.
        InvalidInput: It is live already.
        Tainted: It learned from an ejected rater.
        AdapterError: Its files changed, vLLM refused it, or it answers nothing.
        ModelUnavailable: vLLM can't be reached; nothing changed.
    """
    with closing(client(settings)) as vllm:
        with db.connect() as conn:
            learning.lock_deployments(conn)
            adapter = learning.get_adapter(conn, name)
            if learning.live_adapter(conn) == name:
                raise InvalidInput(f"{name} is live already")
            refuse_tainted(conn, name)
            registry.verify_unchanged(adapter)
            ensure_loaded(vllm, name, adapter.path)
            smoke(vllm, settings, name)
            with_row(conn)
            row = _go_live(conn, name, DeploymentKind.PROMOTE, actor, reason)
        unload_unneeded(db, vllm)
    return row


def rollback(db: Database, settings: Settings, *, actor: str, reason: str = "") -> Deployment:
    """
    Make live what was live before: one more row, so a second rollback undoes the first.

    What learned from an ejected rater is passed over. With vLLM away the row is written all
    the same; `reconcile` loads what it names.

    Raises:
        InvalidInput: Nothing was live before.
        AdapterError: The previous adapter's files are gone or changed.
    """
    with closing(client(settings)) as vllm, db.connect() as conn:
        learning.lock_deployments(conn)
        live, previous = learning.live_adapter(conn), learning.previous_live(conn)
        if live == previous:
            raise InvalidInput("nothing was live before; there is nothing to roll back to")
        if previous is not None:
            adapter = learning.get_adapter(conn, previous)
            registry.verify_unchanged(adapter)
            with suppress(ModelUnavailable):  # then no answer is being given; see above
                ensure_loaded(vllm, previous, adapter.path)
        return _go_live(conn, previous, DeploymentKind.ROLLBACK, actor, reason)


def leave_tainted(
    conn: Connection[Any], vllm: VllmClient, *, actor: str, reason: str
) -> Deployment | None:
    """
    Step back from a live adapter that learned from an ejected rater; None if it did not.

    Live becomes the newest adapter that was live before, learned from nobody ejected and whose
    files are sound, else the base model. The caller holds `lock_deployments`.
    """
    if learning.live_adapter(conn) not in learning.tainted_adapters(conn):
        return None
    clean = learning.clean_adapters_newest_live_first(conn)
    name = next((name for name in clean if _is_servable(conn, vllm, name)), None)
    return _go_live(conn, name, DeploymentKind.ROLLBACK, actor, reason)


def refuse_tainted(conn: Connection[Any], name: str) -> None:
    """Raise Tainted if the adapter learned from somebody who is ejected now."""
    if name in learning.tainted_adapters(conn):
        raise Tainted(f"{name} learned from feedback that was ejected; train a new one")


def reconcile(db: Database, settings: Settings) -> list[str]:
    """
    Make vLLM hold the live and the previous adapter, and no longer what nobody needs.

    Returns one line per change; an unreachable vLLM is not an error here, it is asked again
    soon.
    """
    with closing(client(settings)) as vllm:
        try:
            return _load_missing(db, vllm) + unload_unneeded(db, vllm)
        except ModelUnavailable:
            return []


def client(settings: Settings) -> VllmClient:
    """Return a client of the settings' vLLM; close it after use."""
    return VllmClient(settings.vllm_base_url, settings.vllm_key, timeout_s=REQUEST_TIMEOUT_S)


def wait_until_healthy(
    vllm: VllmClient, timeout_s: float, check: Callable[[], None] = lambda: None
) -> None:
    """
    Wait for vLLM, as after its restart; `check` is called between tries and may raise.

    Raises:
        ModelUnavailable: It did not come within the time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not vllm.healthy():
        check()
        if time.monotonic() > deadline_s:
            raise ModelUnavailable(f"vLLM did not answer for {timeout_s:.0f} s; see its log")
        time.sleep(1.0)


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


def unload_unneeded(db: Database, vllm: VllmClient) -> list[str]:
    """Unload our adapters that are neither live, previous, writing an answer, nor on trial."""
    with db.connect() as conn:
        learning.lock_deployments(conn)
        ours = learning.adapter_names(conn)
        needed = _resident(conn) | conversations.streaming_adapters(conn)
        needed |= learning.adapters_on_trial(conn)
        unneeded = sorted(vllm.adapters() & ours - needed)
        for name in unneeded:
            vllm.unload_adapter(name)
    return [f"unloaded {name}" for name in unneeded]


def _go_live(
    conn: Connection[Any], name: str | None, kind: DeploymentKind, actor: str, reason: str
) -> Deployment:
    deed = {
        DeploymentKind.PROMOTE: Action.ADAPTER_PROMOTED,
        DeploymentKind.ROLLBACK: Action.ADAPTER_ROLLED_BACK,
    }[kind]
    record(conn, actor, deed, name or BASE, reason=reason)
    return learning.deploy(conn, name, kind, actor, reason)


def _is_servable(conn: Connection[Any], vllm: VllmClient, name: str) -> bool:
    adapter = learning.get_adapter(conn, name)
    try:
        registry.verify_unchanged(adapter)
        with suppress(ModelUnavailable):  # `reconcile` loads it when vLLM is back
            ensure_loaded(vllm, name, adapter.path)
    except AdapterError:
        return False
    return True


def _load_missing(db: Database, vllm: VllmClient) -> list[str]:
    """Load what should be there and is not: under its name, from our folder, unchanged."""
    with db.connect() as conn:
        learning.lock_deployments(conn)
        resident = [learning.get_adapter(conn, name) for name in sorted(_resident(conn))]
        loaded = vllm.adapter_paths()
        done = [line for adapter in resident for line in _put_right(vllm, adapter, loaded)]
        return done + _leave_changed(conn, vllm)


def _leave_changed(conn: Connection[Any], vllm: VllmClient) -> list[str]:
    """Step back from a live adapter whose files were changed: else nobody would answer."""
    live = learning.live_adapter(conn)
    if live is None or not registry.is_changed(learning.get_adapter(conn, live)):
        return []
    clean = learning.clean_adapters_newest_live_first(conn)
    name = next((n for n in clean if n != live and _is_servable(conn, vllm, n)), None)
    reason = f"{live}: its files changed since it was registered"
    _go_live(conn, name, DeploymentKind.ROLLBACK, "reconcile", reason)
    return [f"made {name or BASE} live; {reason}"]


def _put_right(vllm: VllmClient, adapter: Adapter, loaded: dict[str, str]) -> list[str]:
    """
    Make vLLM hold exactly this adapter under its name, or nothing; say what was done.

    A name alone proves nothing: whoever reached the server may have loaded other weights
    under it, and whoever reached the folder may have changed the files.
    """
    name, done = adapter.name, []
    try:
        if name in loaded and loaded[name] != adapter.path:
            vllm.unload_adapter(name)
            done.append(f"unloaded a foreign {name}, which came from {loaded[name]}")
        registry.verify_unchanged(adapter)
        if loaded.get(name) != adapter.path:
            vllm.load_adapter(name, adapter.path)
            done.append(f"loaded {name}")
    except AdapterError as exc:  # the other one can still be put right
        done.append(f"could not load {name}: {exc}")
        # Files that are gone, as with a volume that is away, say nothing about what is loaded.
        if loaded.get(name) == adapter.path and registry.is_changed(adapter):
            vllm.unload_adapter(name)
            done.append(f"unloaded {name}")
    return done


def _resident(conn: Connection[Any]) -> set[str]:
    """Return the live and the previous adapter; the base model needs no loading."""
    names = {learning.live_adapter(conn), learning.previous_live(conn)}
    return {name for name in names if name is not None}
