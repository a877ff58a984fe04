"""SQL of attempts at jobs: each one's end and what ended it, in its row and in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import kwargs_row

log = logging.getLogger(__name__)

VANISHED = "the worker vanished, or could not reach the database for a whole lease"


class Outcome(StrEnum):
    """How one attempt at a job ended; LOST: its worker is gone and said nothing."""

    DONE = "done"
    FAILED = "failed"
    RETRIED = "retried"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """One attempt at a job: how it ended, and why."""

    attempt: int
    started_at: datetime
    ended_at: datetime | None  # None: a worker is at it, or is gone and not missed yet
    outcome: Outcome | None
    reason: str


def begin_attempt(conn: Connection[Any], job_id: UUID, attempt: int) -> None:
    """Open an attempt's row."""
    sql = "INSERT INTO job_attempts (job_id, attempt) VALUES (%s, %s)"
    conn.execute(sql, (job_id, attempt))


def end_attempts(
    conn: Connection[Any], job_ids: Sequence[UUID], outcome: Outcome, reason: str
) -> None:
    """Close the open attempts of these jobs, and log each: what is stored is also to be read."""
    sql = """
        UPDATE job_attempts a
        SET ended_at = clock_timestamp(), outcome = %(outcome)s, reason = %(reason)s
        FROM jobs j
        WHERE j.id = a.job_id AND a.job_id = ANY(%(ids)s) AND a.ended_at IS NULL
        RETURNING j.kind, j.id, a.attempt
    """
    params = {"ids": list(job_ids), "outcome": outcome.value, "reason": reason}
    level = logging.INFO if outcome is Outcome.DONE else logging.WARNING
    for kind, job_id, attempt in conn.execute(sql, params).fetchall():
        log.log(level, "%s %s, attempt %s: %s. %s", kind, job_id, attempt, outcome.value, reason)


def list_attempts(conn: Connection[Any], job_id: UUID) -> list[JobAttempt]:
    """Return a job's attempts in order."""
    sql = """
        SELECT attempt, started_at, ended_at, outcome, reason
        FROM job_attempts WHERE job_id = %s ORDER BY attempt
    """
    with conn.cursor(row_factory=kwargs_row(_attempt)) as cur:
        return cur.execute(sql, (job_id,)).fetchall()


def _attempt(*, outcome: str | None, **columns: Any) -> JobAttempt:
    return JobAttempt(outcome=None if outcome is None else Outcome(outcome), **columns)
