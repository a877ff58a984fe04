"""What the desk reads of jobs: the newest of a kind without their long lists, and one whole."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from core.jobs import Job, get_job, list_jobs

__all__ = ["POLL_S", "get_job", "is_open", "newest_jobs"]

POLL_S = 2.0  # between two looks at a job that is open; with none open nobody looks


def newest_jobs(conn: Connection[Any], kind: str, limit: int) -> list[Job]:
    """Return the newest jobs of a kind, newest first; an evaluation's misses are left out."""
    return list_jobs(conn, kind, limit, without="misses")


def is_open(job: Job | None) -> bool:
    """Whether the job may still change."""
    return job is not None and job.is_open
