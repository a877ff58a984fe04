"""Jobs that a page asks for and a worker carries out: one row each, held by a lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from core.db import Database
from core.errors import DatabaseError, LeaseLost, NotAllowed, RatchetError
from core.settings import Settings
from retrieval.links import is_url

REPORT_EVERY_S = 0.5
COLUMNS = "id, kind, request, state, progress, result, error, attempt, created_at, finished_at"


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it lies in the database; `attempt` counts how often it was claimed."""

    id: UUID
    kind: str  # "ingest" or "evaluate"
    request: dict[str, Any]
    state: str  # "queued", "running", "done" or "failed"
    progress: dict[str, Any]  # {"done": n, "total": n, "path": …}
    result: dict[str, Any] | None
    error: str
    attempt: int
    created_at: datetime
    finished_at: datetime | None


def request_job(conn: Connection[Any], kind: str, request: dict[str, Any]) -> Job:
    """
    Queue a job; a worker begins it within seconds.

    An ingest wants {"sources": [path or URL, …], "collection": …, "audience": …}; see
    `check_sources` for what it may read.
    """
    sql = f"INSERT INTO jobs (kind, request) VALUES (%s, %s) RETURNING {COLUMNS}"  # noqa: S608
    with conn.cursor(row_factory=class_row(Job)) as cur:
        row = cur.execute(sql, (kind, Jsonb(request))).fetchone()
    assert row is not None  # RETURNING on an insert always yields one row
    return row


def list_jobs(conn: Connection[Any], limit: int = 20) -> list[Job]:
    """Return the newest jobs, newest first."""
    sql = f"SELECT {COLUMNS} FROM jobs ORDER BY created_at DESC, id DESC LIMIT %s"  # noqa: S608
    with conn.cursor(row_factory=class_row(Job)) as cur:
        return cur.execute(sql, (limit,)).fetchall()


def check_sources(settings: Settings, sources: Sequence[str]) -> None:
    """
    Do nothing when a job may read these: URLs, the company's articles, what was uploaded.

    Raises:
        NotAllowed: A path leads elsewhere, be it over a link; the desk is no way to read /etc.
    """
    folders = [(settings.company / "articles").resolve(), (settings.home / "uploads").resolve()]
    for source in sources:
        path = Path(source).resolve()
        if not is_url(source) and not any(path.is_relative_to(folder) for folder in folders):
            raise NotAllowed(
                f"{source} lies outside of the company's articles and of what was uploaded; "
                "run `ratchet ingest` on the server for it"
            )


def claim_job(conn: Connection[Any], lease_s: float, max_attempts: int) -> Job | None:
    """
    Take the oldest job that nobody works on, for `lease_s` seconds; None when there is none.

    One job runs at a time, so that jobs never fill up the worker that also keeps vLLM in order.
    A job whose worker died is taken again, `max_attempts` times in all, then it has failed.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('jobs', 0))")
    give_up = """
        UPDATE jobs
        SET state = 'failed', finished_at = clock_timestamp(), lease_expires_at = NULL,
            error = 'the worker ended ' || attempt || ' times in the middle of it; see its log'
        WHERE state = 'running' AND lease_expires_at < clock_timestamp() AND attempt >= %s
    """
    conn.execute(give_up, (max_attempts,))
    sql = f"""
        UPDATE jobs
        SET state = 'running', attempt = attempt + 1,
            lease_expires_at = clock_timestamp() + make_interval(secs => %s),
            started_at = coalesce(started_at, clock_timestamp())
        WHERE id = (
            SELECT id FROM jobs
            WHERE (state = 'queued' OR state = 'running' AND lease_expires_at < clock_timestamp())
              AND NOT EXISTS (SELECT 1 FROM jobs WHERE lease_expires_at >= clock_timestamp())
            ORDER BY created_at, id
            LIMIT 1
        )
        RETURNING {COLUMNS}
    """  # noqa: S608
    with conn.cursor(row_factory=class_row(Job)) as cur:
        return cur.execute(sql, (lease_s,)).fetchone()


def report_progress(
    conn: Connection[Any], job: Job, lease_s: float, progress: dict[str, Any] | None = None
) -> None:
    """
    Renew the lease and, if given, replace the progress.

    Raises:
        LeaseLost: Another worker has the job now.
    """
    sql = """
        UPDATE jobs
        SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
            progress = coalesce(%(progress)s, progress)
        WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
    """
    _fenced(conn, sql, job, lease_s=lease_s, progress=Jsonb(progress) if progress else None)


def finish_job(conn: Connection[Any], job: Job, result: dict[str, Any]) -> None:
    """Close the job as done with what came of it; raises LeaseLost like `report_progress`."""
    sql = """
        UPDATE jobs
        SET state = 'done', result = %(result)s, finished_at = clock_timestamp(),
            lease_expires_at = NULL
        WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
    """
    _fenced(conn, sql, job, result=Jsonb(result))


def fail_job(conn: Connection[Any], job: Job, error: str) -> None:
    """Close the job as failed for this reason; raises LeaseLost like `report_progress`."""
    sql = """
        UPDATE jobs
        SET state = 'failed', error = %(error)s, finished_at = clock_timestamp(),
            lease_expires_at = NULL
        WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'running'
    """
    storable = error.replace("\0", "").encode("utf-8", "replace").decode()
    _fenced(conn, sql, job, error=storable)


def _fenced(conn: Connection[Any], sql: str, job: Job, **params: object) -> None:
    if conn.execute(sql, {"id": job.id, "attempt": job.attempt, **params}).rowcount == 0:
        raise LeaseLost(f"job {job.id} is no longer held under attempt {job.attempt}")


def work_off(db: Database, settings: Settings) -> Job | None:
    """
    Carry out one job to its end and return it as claimed; None when none waits.

    With Postgres gone in the middle the job stays as it is: its lease runs out, another call
    takes it, and as ingests are incremental it goes on where this one was.
    """
    with db.connect() as conn:
        job = claim_job(conn, settings.lease_s, settings.max_attempts)
    if job is None:
        return None
    try:
        with _reporting(db, job, settings.lease_s) as report:
            result = _CARRY_OUT[job.kind](db, settings, job.request, report)
        with db.connect() as conn:
            finish_job(conn, job, result)
    except (LeaseLost, DatabaseError):
        pass  # whoever claims it next tells how it went
    except RatchetError as exc:
        with db.connect() as conn:
            fail_job(conn, job, str(exc))
    except Exception as exc:
        with db.connect() as conn:
            fail_job(conn, job, f"something unforeseen went wrong ({type(exc).__name__}: {exc})")
        raise
    return job


OnProgress = Callable[[int, int, str], None]  # done, in all, what just now


@contextmanager
def _reporting(db: Database, job: Job, lease_s: float) -> Iterator[OnProgress]:
    """Yield the function that notes progress; a thread keeps the lease when that is silent."""
    done = threading.Event()
    reported_s = 0.0

    def report(n_done: int, n_total: int, path: str) -> None:
        nonlocal reported_s
        if n_done < n_total and time.monotonic() - reported_s < REPORT_EVERY_S:
            return
        with db.connect() as conn:
            progress = {"done": n_done, "total": n_total, "path": path}
            report_progress(conn, job, lease_s, progress)
        reported_s = time.monotonic()

    def beat() -> None:
        while not done.wait(lease_s / 3):
            try:
                with db.connect() as conn:
                    report_progress(conn, job, lease_s)
            except DatabaseError:
                continue
            except LeaseLost:
                return  # the next report, or the end, finds out

    thread = threading.Thread(target=beat, name=f"lease-{job.id}", daemon=True)
    thread.start()
    try:
        yield report
    finally:
        done.set()
        thread.join()


def _ingest(
    db: Database, settings: Settings, request: dict[str, Any], report: OnProgress
) -> dict[str, Any]:
    # Imported here: pages, which only write rows, need neither the loaders nor the model.
    from retrieval.embed import get_embedder
    from retrieval.ingest import ingest

    check_sources(settings, request["sources"])
    found = ingest(
        db,
        get_embedder(settings),
        request["sources"],
        collection=request.get("collection", "help"),
        audience=request.get("audience", "everyone"),
        public_only=True,
        on_progress=lambda now: report(now.n_done, now.n_files, now.path),
    )
    return asdict(found)


def _evaluate(
    db: Database, settings: Settings, request: dict[str, Any], report: OnProgress
) -> dict[str, Any]:
    from retrieval.embed import get_embedder
    from retrieval.evaluate import run_job

    return run_job(db, get_embedder(settings), request, report)


_CARRY_OUT: dict[
    str, Callable[[Database, Settings, dict[str, Any], OnProgress], dict[str, Any]]
] = {"ingest": _ingest, "evaluate": _evaluate}
