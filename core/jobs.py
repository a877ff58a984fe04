"""Jobs: durable work, one row each, held under a lease whose token fences writers. Their SQL."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from core.attempts import VANISHED, Outcome, begin_attempt, end_attempts
from core.audit import Action, record
from core.errors import Cancelled, InvalidInput, LeaseLost, NotFound
from core.text import storable_text

MAX_REASON_CHARS = 2000


class JobState(StrEnum):
    """Where a job stands; the schema's `is_open` says which states may still change."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_LEFT_IN = {
    Outcome.DONE: JobState.DONE,
    Outcome.FAILED: JobState.FAILED,
    Outcome.RETRIED: JobState.QUEUED,
    Outcome.CANCELLED: JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it lies in the database."""

    id: UUID
    kind: str
    key: str | None  # at most one open job of a kind holds it
    request: dict[str, Any]
    state: JobState
    is_open: bool  # queued or running
    phase: str  # what a running job is at
    phases: dict[str, dict[str, Any]]  # what each finished phase left
    progress: dict[str, Any]  # {"done": n, "total": n, "path": …}, or what its kind shows
    result: dict[str, Any] | None
    error: str
    attempt: int  # 1, 2 …; 0: no worker took it yet
    lease_token: int  # grows with each lease; who writes with an older one is refused
    lease_expires_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def request_job(conn: Connection[Any], kind: str, request: dict[str, Any]) -> Job:
    """Queue a job and return it; a worker begins it within seconds. The caller commits."""
    job = request_once(conn, kind, request, None)
    assert job is not None  # only a key can be in the way
    return job


def request_once(
    conn: Connection[Any], kind: str, request: dict[str, Any], key: str | None
) -> Job | None:
    """Queue a job; None when an open job of this kind holds the key. The caller commits."""
    sql = """
        INSERT INTO jobs (kind, key, request) VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
        RETURNING *
    """
    return _one(conn, sql, (kind, key, Jsonb(request)))


def get_job(conn: Connection[Any], job_id: UUID) -> Job:
    """Return one job; raises NotFound."""
    job = _one(conn, "SELECT * FROM jobs WHERE id = %s", (job_id,))
    if job is None:
        raise NotFound(f"no job {job_id}; `ratchet jobs` lists them")
    return job


def list_jobs(
    conn: Connection[Any], kind: str | None = None, limit: int = 20, *, without: str = ""
) -> list[Job]:
    """Return the newest jobs, of one kind or all, newest first; results lack the key `without`."""
    sql = """
        SELECT jobs.*, result - %(without)s AS result FROM jobs
        WHERE %(kind)s::text IS NULL OR kind = %(kind)s
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    """
    with conn.cursor(row_factory=kwargs_row(_job)) as cur:
        return cur.execute(sql, {"kind": kind, "limit": limit, "without": without}).fetchall()


def count_waiting(conn: Connection[Any]) -> dict[str, int]:
    """Return by kind how many jobs nobody works on: queued ones, and those whose lease ran out."""
    sql = """
        SELECT kind, count(*) FROM jobs
        WHERE is_open AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
        GROUP BY kind
    """
    return dict(conn.execute(sql).fetchall())


def cancel_job(conn: Connection[Any], job_id: UUID, actor: str) -> Job:
    """
    Ask for the end of a job and return it; a queued one ends here, a running one within seconds.

    Raises:
        NotFound: No job has this id.
        InvalidInput: It is over.
    """
    sql = """
        UPDATE jobs
        SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
            cancel_requested_by = coalesce(cancel_requested_by, %(actor)s),
            state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
            finished_at = CASE state WHEN 'queued' THEN clock_timestamp() END
        WHERE id = %(id)s AND is_open
        RETURNING *
    """
    job = _one(conn, sql, {"id": job_id, "actor": actor})
    if job is None:
        raise InvalidInput(f"job {job_id} is over: {get_job(conn, job_id).state.value}")
    record(conn, actor, Action.JOB_CANCELLED, job_id, kind=job.kind)
    return job


def claim_job(
    conn: Connection[Any], kind: str, *, at_once: int, max_attempts: int, lease_s: float
) -> Job | None:
    """
    Take the oldest job of a kind that nobody works on, for `lease_s` seconds, with a new token.

    None when none waits or `at_once` are at work. A job whose worker vanished
    is taken again until its attempts are used up; then, or when it was cancelled, it ends here.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('jobs', 0))")  # counts must hold
    _end_abandoned(conn, kind, max_attempts)
    sql = """
        UPDATE jobs
        SET state = 'running', phase = '', progress = '{}',
            attempt = attempt + 1, lease_token = lease_token + 1,
            lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
            started_at = coalesce(started_at, clock_timestamp())
        WHERE id = (
            SELECT id FROM jobs
            WHERE kind = %(kind)s AND is_open
              AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
              AND (SELECT count(*) FROM jobs
                   WHERE kind = %(kind)s AND lease_expires_at >= clock_timestamp()) < %(at_once)s
            ORDER BY created_at, id
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        RETURNING *
    """
    job = _one(conn, sql, {"kind": kind, "at_once": at_once, "lease_s": lease_s})
    if job is not None:
        end_attempts(conn, [job.id], Outcome.LOST, VANISHED)
        begin_attempt(conn, job.id, job.attempt)
    return job


def report_progress(
    conn: Connection[Any],
    job: Job,
    lease_s: float,
    progress: dict[str, Any] | None = None,
    *,
    phase: str | None = None,
) -> None:
    """
    Renew the lease and store how far the job is; what is None stays as it was.

    What else is written in the transaction is fenced with it: the row stays locked to its end.

    Raises:
        LeaseLost: Another worker has the job, or it is over.
        Cancelled: Somebody asked for its end.
    """
    sql = """
        UPDATE jobs
        SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
            progress = coalesce(%(progress)s, progress),
            phase = coalesce(%(phase)s, phase)
        WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running'
        RETURNING cancel_requested_by
    """
    shown = None if progress is None else Jsonb(progress)
    _fenced(conn, sql, job, refuse_cancelled=True, lease_s=lease_s, progress=shown, phase=phase)


def finish_phase(conn: Connection[Any], job: Job, phase: str, left: dict[str, Any]) -> None:
    """Store what a phase left, with what it wrote; raises like `report_progress`."""
    sql = """
        UPDATE jobs SET phases = phases || jsonb_build_object(%(phase)s::text, %(left)s::jsonb)
        WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running'
        RETURNING cancel_requested_by
    """
    _fenced(conn, sql, job, refuse_cancelled=True, phase=phase, left=Jsonb(left))


def end_attempt(
    conn: Connection[Any],
    job: Job,
    outcome: Outcome,
    *,
    result: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Store how this attempt ended and where it leaves the job; raises LeaseLost."""
    sql = """
        UPDATE jobs
        SET state = CASE WHEN %(state)s = 'queued' AND cancel_requested_at IS NOT NULL
                         THEN 'cancelled' ELSE %(state)s END,
            finished_at = CASE WHEN %(state)s <> 'queued' OR cancel_requested_at IS NOT NULL
                               THEN clock_timestamp() END,
            lease_expires_at = NULL, result = %(result)s, error = %(reason)s
        WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running'
        RETURNING cancel_requested_by
    """
    told = storable_text(reason)[:MAX_REASON_CHARS]  # errors quote what strangers wrote
    stored = None if result is None else Jsonb(result)
    state = _LEFT_IN[outcome].value
    _fenced(conn, sql, job, refuse_cancelled=False, state=state, result=stored, reason=told)
    end_attempts(conn, [job.id], outcome, told)


def _end_abandoned(conn: Connection[Any], kind: str, max_attempts: int) -> None:
    """End the jobs whose worker vanished and that nobody is to take again."""
    sql = """
        UPDATE jobs
        SET state = CASE WHEN cancel_requested_at IS NULL THEN 'failed' ELSE 'cancelled' END,
            error = format('the worker ended %%s times in the middle of it; see its log, then '
                           'start anew%%s', attempt,
                           CASE WHEN error = '' THEN '' ELSE ' (last: ' || error || ')' END),
            finished_at = clock_timestamp(), lease_expires_at = NULL
        WHERE kind = %(kind)s AND state = 'running' AND lease_expires_at < clock_timestamp()
          AND (attempt >= %(max_attempts)s OR cancel_requested_at IS NOT NULL)
        RETURNING id
    """
    ended = conn.execute(sql, {"kind": kind, "max_attempts": max_attempts}).fetchall()
    end_attempts(conn, [job_id for (job_id,) in ended], Outcome.LOST, VANISHED)


def _fenced(
    conn: Connection[Any], sql: str, job: Job, *, refuse_cancelled: bool, **params: Any
) -> None:
    """Run one write that names the token; no row written means that the token is old."""
    row = conn.execute(sql.encode(), {"id": job.id, "token": job.lease_token, **params}).fetchone()
    if row is None:
        raise LeaseLost(f"{job.kind} {job.id} is no longer held under token {job.lease_token}")
    if refuse_cancelled and row[0] is not None:
        raise Cancelled(f"cancelled by {row[0]}")


def _one(conn: Connection[Any], sql: str, params: Any) -> Job | None:
    with conn.cursor(row_factory=kwargs_row(_job)) as cur:
        return cur.execute(sql.encode(), params).fetchone()


def _job(**columns: Any) -> Job:
    known = {name: columns[name] for name in _COLUMNS}
    return Job(**known | {"state": JobState(columns["state"])})


_COLUMNS = tuple(each.name for each in fields(Job))  # a later version's columns are left out
