"""Takes one job, runs its handler under its lease, stores how that ended, whatever it was."""

from __future__ import annotations

import logging
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from core.attempts import Outcome
from core.db import Database
from core.errors import Cancelled, DatabaseError, LeaseLost, RatchetError
from core.jobs import Job, end_attempt
from core.settings import Settings
from core.work import HeldJob, Kind

log = logging.getLogger(__name__)

MAX_UNFORESEEN_CHARS = 500


def carry_out_one(db: Database, settings: Settings, kind: Kind) -> Job | None:
    """
    Carry out the oldest job of this kind that may begin and return it as claimed; None without.

    Safe to call any number of times at once: the lease decides who works. What may pass leaves
    the job queued until its attempts are used up; anything else, foreseen or not, ends it, with
    the reason in its row and in the log.
    """
    with db.connect() as conn:
        job = kind.claim(conn, settings.lease_s)
    if job is None:
        return None
    try:
        with HeldJob(db, job, settings.lease_s) as held:
            outcome, result, reason = _run(held, settings, kind)
            with db.connect() as conn:
                end_attempt(conn, job, outcome, result=result, reason=reason)
    except (LeaseLost, DatabaseError) as exc:
        # Nothing can be stored: the lease runs out, and who claims the job next stores that.
        log.warning("%s %s, attempt %s: left as it is: %s", job.kind, job.id, job.attempt, exc)
    return job


def _run(
    held: HeldJob, settings: Settings, kind: Kind
) -> tuple[Outcome, dict[str, Any] | None, str]:
    """Return how the attempt ends: its outcome, the job's result, the reason."""
    try:
        return Outcome.DONE, kind.handler(held, settings), ""
    except LeaseLost:
        raise
    except Cancelled as exc:
        return Outcome.CANCELLED, None, str(exc)
    except RatchetError as exc:
        may_retry = exc.may_pass and held.job.attempt < kind.max_attempts
        return Outcome.RETRIED if may_retry else Outcome.FAILED, None, str(exc)
    except SoftTimeLimitExceeded:
        return Outcome.FAILED, None, "it took longer than the worker allows"
    except Exception as exc:  # nobody knows what it is, so nothing is tried again
        log.exception("%s %s, attempt %s", held.job.kind, held.job.id, held.job.attempt)
        told = " ".join(f"unforeseen {type(exc).__name__}: {exc}".split())
        return Outcome.FAILED, None, f"{told[:MAX_UNFORESEEN_CHARS]}; see the worker's log"
