"""What the desk reads of jobs: the newest of a kind without their long lists, and one whole."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from core.errors import NotFound
from retrieval.jobs import Job

POLL_S = 2.0  # between two looks at a job that is open; with none open nobody looks


def newest_jobs(conn: Connection[Any], kind: str, limit: int) -> list[Job]:
    """Return the newest jobs of a kind, newest first; an evaluation's misses are left out."""
    sql = """
        SELECT id, kind, request, state, progress, result - 'misses' AS result, error, attempt,
               created_at, finished_at
        FROM jobs WHERE kind = %s
        ORDER BY created_at DESC, id DESC LIMIT %s
    """
    with conn.cursor(row_factory=class_row(Job)) as cur:
        return cur.execute(sql, (kind, limit)).fetchall()


def get_job(conn: Connection[Any], job_id: UUID) -> Job:
    """Return one job with its whole result; raises NotFound."""
    sql = """
        SELECT id, kind, request, state, progress, result, error, attempt, created_at, finished_at
        FROM jobs WHERE id = %s
    """
    with conn.cursor(row_factory=class_row(Job)) as cur:
        found = cur.execute(sql, (job_id,)).fetchone()
    if found is None:
        raise NotFound(f"no job {job_id}; reload the page")
    return found


def is_open(job: Job | None) -> bool:
    """Whether the job may still change."""
    return job is not None and job.state in ("queued", "running")
