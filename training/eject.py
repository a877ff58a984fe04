"""Takes one person's feedback out of all learning, and out of what answers now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from core import learning
from core.audit import Action, record
from core.db import Database
from core.errors import NotFound
from core.settings import Settings
from training import deploy, promotion


@dataclass(frozen=True, slots=True)
class Ejection:
    """What became of it; `run_id` is None while another run is active: one follows it."""

    rater_id: UUID
    is_new: bool  # False: they were ejected before
    tainted: list[str]  # adapters that learned from anybody ejected
    stepped_back: bool
    live: str | None
    run_id: UUID | None


def eject(
    db: Database, settings: Settings, rater_id: UUID, *, actor: str, reason: str = ""
) -> Ejection:
    """
    Leave the rater's feedback out from now on, step back from what learned from it, train anew.

    All in one transaction, under the lock of deployments: a run that deploys at this moment
    either sees the ejection and is rejected, or is live before and stepped back from. The model
    servers are brought there after it. Done again, it changes nothing that stands already.

    Raises:
        NotFound: Nothing is stored of such a rater; the id is probably mistyped.
    """
    with db.connect() as conn:
        learning.lock_deployments(conn)
        if not learning.is_known_rater(conn, rater_id):
            raise NotFound(f"nothing is stored of rater {rater_id}; the desk shows who wrote what")
        is_new = learning.eject_rater(conn, rater_id, actor, reason)
        why = f"{learning.live_adapter(conn)} learned from rater {rater_id}, who was ejected"
        step = promotion.leave_tainted(conn, settings, actor=actor, reason=why)
        run_id = request_run_without_ejected(conn)
        tainted = sorted(learning.tainted_adapters(conn))
        if is_new:
            record(conn, actor, Action.RATER_EJECTED, rater_id, reason=reason, tainted=tainted)
        live = learning.live_adapter(conn)
    deploy.bring(db, settings)  # else the first customers would wait for a worker to do it
    return Ejection(rater_id, is_new, tainted, step is not None, live, run_id)


def request_run_without_ejected(conn: Connection[Any]) -> UUID | None:
    """
    Request the run that ejections ask for, unless it was; None also while a run is active.

    What is active may have read the feedback already, so it does not count. The row waits
    with its run unset, and the clock asks again until a run was requested.
    """
    if not learning.has_unanswered_ejection(conn):
        return None
    run = learning.request_run(conn, "command")
    if run is None:
        return None
    learning.answer_ejections(conn, run.id)
    return run.id
