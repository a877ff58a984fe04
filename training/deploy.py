"""What is live: load, smoke, switch by one row, roll back, and put right after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from psycopg import Connection

from core import conversations, learning
from core.db import Database
from core.errors import AdapterError, InvalidInput, ModelUnavailable
from core.settings import Settings
from core.types import Deployment, DeploymentKind, Message
from core.vllm import VllmClient
from training import registry

N_SMOKE = 3
REQUEST_TIMEOUT_S = 30.0
SMOKE_TOKENS = 16
SMOKE_QUESTIONS = ("Hello", "How long may I return things?", "Thank you!")

WithRow = Callable[[Connection[Any]], None]


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
        AdapterError: Its files changed, vLLM refused it, or it answers nothing.
        ModelUnavailable: vLLM can't be reached; nothing changed.
    """
    with closing(client(settings)) as vllm:
        with db.connect() as conn:
            learning.lock_deployments(conn)
            adapter = learning.get_adapter(conn, name)
            if learning.live_adapter(conn) == name:
                raise InvalidInput(f"{name} is live already")
            registry.verify_unchanged(adapter)
            ensure_loaded(vllm, name, adapter.path)
            smoke(vllm, settings, name)
            with_row(conn)
            row = learning.deploy(conn, name, DeploymentKind.PROMOTE, actor, reason)
        unload_unneeded(db, vllm)
    return row


def rollback(db: Database, settings: Settings, *, actor: str, reason: str = "") -> Deployment:
    """
    Make live what was live before: one more row, so a second rollback undoes the first.

    With vLLM away the row is written all the same; `reconcile` loads what it names.

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
        return learning.deploy(conn, previous, DeploymentKind.ROLLBACK, actor, reason)


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
    return VllmClient(settings.vllm_base_url, settings.vllm_api_key, timeout_s=REQUEST_TIMEOUT_S)


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


def smoke(vllm: VllmClient, settings: Settings, name: str) -> None:
    """
    Ask a few questions of a loaded adapter, which also warms it up.

    Raises:
        AdapterError: It has nothing to say to any of them.
    """

    def ask(question: str) -> str:
        messages: list[Message] = [{"role": "user", "content": question}]
        return vllm.generate(name, messages, max_tokens=SMOKE_TOKENS, temperature=0.0).text

    with ThreadPoolExecutor(N_SMOKE) as threads:
        texts = list(threads.map(ask, _smoke_questions(settings)))
    if not any(text.strip() for text in texts):
        raise AdapterError(f"{name} answered nothing to {len(texts)} smoke questions; not live")


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


def _load_missing(db: Database, vllm: VllmClient) -> list[str]:
    with db.connect() as conn:
        learning.lock_deployments(conn)
        missing = sorted(_resident(conn) - vllm.adapters())
        done = []
        for name in missing:
            adapter = learning.get_adapter(conn, name)
            try:
                registry.verify_unchanged(adapter)
                vllm.load_adapter(name, adapter.path)
                done.append(f"loaded {name}")
            except AdapterError as exc:  # the other one can still be put right
                done.append(f"could not load {name}: {exc}")
    return done


def _resident(conn: Connection[Any]) -> set[str]:
    """Return the live and the previous adapter; the base model needs no loading."""
    names = {learning.live_adapter(conn), learning.previous_live(conn)}
    return {name for name in names if name is not None}


def _smoke_questions(settings: Settings) -> list[str]:
    path = settings.company / "golden.jsonl"
    if not path.is_file():
        return list(SMOKE_QUESTIONS)
    lines = path.read_text(encoding="utf-8").splitlines()[:N_SMOKE]
    return [json.loads(line)["question"] for line in lines]
