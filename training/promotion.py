"""What may go live: pages, commands and runs write what should serve; no server is asked."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from core import learning
from core.audit import Action, record
from core.base_model import BaseModel, read_base_model
from core.errors import AdapterError, InvalidInput
from core.jobs import request_once
from core.settings import Settings
from core.types import Deployment, DeploymentKind, DeploymentState
from core.vllm import BASE
from training import registry

DEPLOY = "deploy"  # the kind of job that brings the model servers there


class NotPromotable(AdapterError):
    """The adapter may not go live; the text says why, and what to do."""


def request_promotion(
    conn: Connection[Any],
    settings: Settings,
    name: str,
    *,
    actor: str,
    reason: str = "",
    overrule: bool = False,
) -> Deployment:
    """
    Write that an adapter, or `base`, should be live; a worker brings the model servers there.

    What was pending is superseded. `overrule` is a person's: go live against what the gate
    found, or without its word. Nobody overrules the rest. The caller owns the transaction.

    Raises:
        NotFound: No adapter has this name.
        InvalidInput: It is live already.
        NotPromotable: It learned from an ejected rater, is of another base model, or the gate
            does not speak for it.
        AdapterError: Its files are gone or changed.
    """
    learning.lock_deployments(conn)
    base = read_base_model(settings.model)
    adapter = None if name == BASE else name
    now = learning.serving(conn, base)
    # What is live under a hold may be promoted all the same: that lifts the hold.
    if adapter == (now.resting or now.adapter) and learning.standing_hold(conn) is None:
        raise InvalidInput(f"{name} is live already")
    compared = None
    if adapter is not None:
        require_servable(conn, base, adapter)
        doubts = gate_doubts(conn, base, adapter)
        if doubts and not overrule:
            raise NotPromotable(f"{name} stays as it is: {'; '.join(doubts)}")
        compared = learning.comparison_of(conn, adapter)
    _ask_worker(conn)
    return learning.deploy(
        conn,
        adapter,
        DeploymentKind.PROMOTE,
        actor,
        reason,
        state=DeploymentState.PENDING,
        base=base,
        was_compared=compared is not None,
        baseline=compared.baseline if compared else None,
    )


def request_promotion_by_run(
    conn: Connection[Any], settings: Settings, name: str, *, actor: str, reason: str
) -> Deployment:
    """
    Do as `request_promotion`, unless a person has rolled back and not promoted since.

    Raises:
        NotPromotable: That, and as `request_promotion`.
    """
    learning.lock_deployments(conn)
    hold = learning.standing_hold(conn)
    if hold is not None:
        who, when = hold
        raise NotPromotable(
            f"{name} passed the gate and does not go live by itself: {who} rolled back on "
            f"{when:%Y-%m-%d at %H:%M %Z}; `ratchet promote {name}` makes it live"
        )
    return request_promotion(conn, settings, name, actor=actor, reason=reason)


def gate_doubts(conn: Connection[Any], base: BaseModel, name: str) -> list[str]:
    """Return why the gate does not speak for making this adapter live now; empty if it does."""
    compared = learning.comparison_of(conn, name)
    if compared is None:
        return ["no gate compared this adapter with anything"]
    doubts = (
        []
        if compared.passed
        else [f"the gate rejected this adapter: {'; '.join(compared.reasons)}"]
    )
    live = learning.serving(conn, base).adapter
    if compared.baseline != live:
        baseline = _called(compared.baseline)
        doubts.append(f"the gate compared it with {baseline}, and {_called(live)} is live now")
    return doubts


def require_servable(conn: Connection[Any], base: BaseModel, name: str) -> None:
    """
    Check what nobody may overrule.

    Raises:
        NotFound: No adapter has this name.
        NotPromotable: It learned from an ejected rater, or is of another base model.
        AdapterError: Its files are gone or changed.
    """
    adapter = learning.get_adapter(conn, name)
    refuse_tainted(conn, name)
    if not learning.fits_base(conn, name, base):
        raise NotPromotable(
            f"{name} was trained on {adapter.base_model}, and the base model is {base.name}; "
            "set RATCHET_MODEL back, or train again"
        )
    registry.verify_unchanged(adapter)


def refuse_tainted(conn: Connection[Any], name: str) -> None:
    """Raise NotPromotable if the adapter learned from somebody who is ejected now."""
    if name in learning.tainted_adapters(conn):
        raise NotPromotable(f"{name} learned from feedback that was ejected; train a new one")


def request_rollback(
    conn: Connection[Any], settings: Settings, *, actor: str, reason: str = ""
) -> Deployment:
    """
    Make live what was live before: one more row, so a second rollback undoes the first.

    It is live at once, since the model servers keep it loaded; what they lost, `deploy.bring`
    loads again. No run puts anything live by itself until a person promotes.

    Raises:
        InvalidInput: Nothing was live before.
        AdapterError: The previous adapter's files are gone or changed.
    """
    learning.lock_deployments(conn)
    base = read_base_model(settings.model)
    previous = learning.previous_live(conn, base)
    if learning.live_adapter(conn) == previous:
        raise InvalidInput("nothing was live before; there is nothing to roll back to")
    if previous is not None:
        registry.verify_unchanged(learning.get_adapter(conn, previous))
    return _roll_back(conn, previous, base, actor, reason, hold=True)


def leave_tainted(
    conn: Connection[Any], settings: Settings, *, actor: str, reason: str
) -> Deployment | None:
    """
    Step back from a live adapter that learned from an ejected rater; None if it did not.

    The caller holds `lock_deployments`.
    """
    if learning.live_adapter(conn) not in learning.tainted_adapters(conn):
        return None
    return _step_back(conn, read_base_model(settings.model), actor, reason)


def leave_changed(conn: Connection[Any], settings: Settings) -> Deployment | None:
    """Step back from a live adapter whose files were changed: else nobody would answer."""
    learning.lock_deployments(conn)
    base = read_base_model(settings.model)
    live = learning.serving(conn, base).adapter
    if live is None or not registry.is_changed(learning.get_adapter(conn, live)):
        return None
    reason = f"{live}: its files changed since it was registered"
    return _step_back(conn, base, "reconcile", reason)


def _step_back(conn: Connection[Any], base: BaseModel, actor: str, reason: str) -> Deployment:
    """
    Make live the newest adapter that was live before and is clean and sound, else the base.

    Nobody judged what answered, so this is no hold.
    """
    clean = learning.clean_adapters_newest_live_first(conn, base)
    sound = (name for name in clean if _is_sound(conn, name))
    return _roll_back(conn, next(sound, None), base, actor, reason, hold=False)


def _is_sound(conn: Connection[Any], name: str) -> bool:
    try:
        registry.verify_unchanged(learning.get_adapter(conn, name))
    except AdapterError:
        return False
    return True


def _roll_back(
    conn: Connection[Any], name: str | None, base: BaseModel, actor: str, reason: str, *, hold: bool
) -> Deployment:
    record(conn, actor, Action.ADAPTER_ROLLED_BACK, name or BASE, reason=reason)
    _ask_worker(conn)
    return learning.deploy(conn, name, DeploymentKind.ROLLBACK, actor, reason, base=base, hold=hold)


def _ask_worker(conn: Connection[Any]) -> None:
    """Have a worker look at the rows at once; should a job be at it, the clock's tick follows."""
    request_once(conn, DEPLOY, {}, key=DEPLOY)


def _called(name: str | None) -> str:
    return name or "the base model"
