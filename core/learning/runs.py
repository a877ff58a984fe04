"""SQL of training runs: one active at a time, held under a lease whose token fences writers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from core.errors import LeaseLost, NotFound
from core.learning.attempts import LOST, VANISHED, begin_attempt, end_attempt
from core.types import RunState, TrainingRun, TrainingStep


def request_run(
    conn: Connection[Any], trigger: str, period: str | None = None
) -> TrainingRun | None:
    """
    Queue a run and return it; None when one is active or this period already had its run.

    The two unique indexes decide, so any number of callers at once agree. The caller owns the
    transaction, as everywhere in this module.
    """
    run_id = uuid4()
    sql = """
        INSERT INTO training_runs (id, trigger, period)
        VALUES (%(id)s, %(trigger)s, %(period)s)
        ON CONFLICT DO NOTHING
        RETURNING id
    """
    params = {"id": run_id, "trigger": trigger, "period": period}
    return get_run(conn, run_id) if conn.execute(sql, params).fetchone() else None


def lease_run(
    conn: Connection[Any], run_id: UUID, lease_s: float, max_attempts: int
) -> TrainingRun | None:
    """
    Take the run for `lease_s` seconds and return it with a new fencing token.

    None when it is finished, held by somebody else, or out of attempts: then there is nothing
    to do, which makes a message delivered twice harmless.
    """
    sql = """
        UPDATE training_runs
        SET state = 'freezing',
            attempt = attempt + 1,
            lease_token = lease_token + 1,
            lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
            started_at = coalesce(started_at, clock_timestamp()),
            progress = '{}'
        WHERE id = %(id)s
          AND state NOT IN ('promoted', 'rejected', 'failed')
          AND attempt < %(max_attempts)s
          AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
        RETURNING id
    """
    params = {"id": run_id, "lease_s": lease_s, "max_attempts": max_attempts}
    if conn.execute(sql, params).fetchone() is None:
        return None
    conn.execute("DELETE FROM training_steps WHERE run_id = %s", [run_id])  # of an attempt before
    run = get_run(conn, run_id)
    begin_attempt(conn, run_id, run.attempt)
    return run


def renew_lease(conn: Connection[Any], run_id: UUID, token: int, lease_s: float) -> None:
    """
    Extend the lease to `lease_s` seconds from now.

    Raises:
        LeaseLost: Another worker holds the run, or it is finished.
    """
    sql = """
        UPDATE training_runs
        SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
        WHERE id = %(id)s AND lease_token = %(token)s
          AND state NOT IN ('queued', 'promoted', 'rejected', 'failed')
    """
    _fenced(conn, sql, run_id, token, lease_s=lease_s)


def advance_run(
    conn: Connection[Any],
    run_id: UUID,
    token: int,
    state: RunState,
    *,
    dataset_id: UUID | None = None,
    reasons: Sequence[str] | None = None,
    error: str | None = None,
) -> None:
    """
    Move the run to `state`; what is None stays as it was.

    A final state or QUEUED ends the lease and the attempt, whose row gets the reason too. Do
    what belongs to the step in the same transaction: it is then undone with it.

    Raises:
        LeaseLost: Another worker holds the run, or it is finished.
    """
    ends_lease = state.is_final or state is RunState.QUEUED
    sql = """
        UPDATE training_runs
        SET state = %(state)s,
            dataset_id = coalesce(%(dataset_id)s, dataset_id),
            reasons = coalesce(%(reasons)s, reasons),
            error = coalesce(%(error)s, error),
            lease_expires_at = CASE WHEN %(ends_lease)s THEN NULL ELSE lease_expires_at END,
            finished_at = CASE WHEN %(is_final)s THEN clock_timestamp() END
        WHERE id = %(id)s AND lease_token = %(token)s
          AND state NOT IN ('queued', 'promoted', 'rejected', 'failed')
    """
    _fenced(
        conn,
        sql,
        run_id,
        token,
        state=state.value,
        dataset_id=dataset_id,
        reasons=None if reasons is None else list(reasons),
        error=error,
        is_final=state.is_final,
        ends_lease=ends_lease,
    )
    if ends_lease:
        end_attempt(conn, run_id, state.value, error or "; ".join(reasons or ()))


def note_progress(
    conn: Connection[Any], run_id: UUID, token: int, progress: dict[str, Any]
) -> None:
    """
    Replace what the pages show of a run at work.

    Raises:
        LeaseLost: Another worker holds the run, or it is finished.
    """
    sql = """
        UPDATE training_runs SET progress = %(progress)s
        WHERE id = %(id)s AND lease_token = %(token)s
          AND state NOT IN ('queued', 'promoted', 'rejected', 'failed')
    """
    _fenced(conn, sql, run_id, token, progress=Jsonb(progress))


def record_step(conn: Connection[Any], run_id: UUID, token: int, step: TrainingStep) -> None:
    """
    Store one logged optimiser step; the same step again replaces it.

    Raises:
        LeaseLost: Another worker holds the run, or it is finished.
    """
    sql = """
        INSERT INTO training_steps (run_id, step, loss, margin, accuracy)
        SELECT id, %(step)s, %(loss)s, %(margin)s, %(accuracy)s
        FROM training_runs
        WHERE id = %(id)s AND lease_token = %(token)s
          AND state NOT IN ('queued', 'promoted', 'rejected', 'failed')
        FOR UPDATE
        ON CONFLICT (run_id, step) DO UPDATE
        SET loss = excluded.loss, margin = excluded.margin, accuracy = excluded.accuracy
    """
    figures = {"loss": step.loss, "margin": step.margin, "accuracy": step.accuracy}
    _fenced(conn, sql, run_id, token, step=step.step, **figures)


def get_run(conn: Connection[Any], run_id: UUID) -> TrainingRun:
    """
    Return one run.

    Raises:
        NotFound: No run has this id.
    """
    rows = _runs(conn, run_id=run_id, limit=1)
    if not rows:
        raise NotFound(f"no training run {run_id}; `ratchet status` lists the runs")
    return rows[0]


def list_runs(conn: Connection[Any], limit: int = 20) -> list[TrainingRun]:
    """Return the newest runs, newest first."""
    return _runs(conn, run_id=None, limit=limit)


def run_steps(conn: Connection[Any], run_id: UUID) -> list[TrainingStep]:
    """Return a run's logged steps in order."""
    sql = "SELECT step, loss, margin, accuracy FROM training_steps WHERE run_id = %s ORDER BY step"
    with conn.cursor(row_factory=class_row(TrainingStep)) as cur:
        return cur.execute(sql, [run_id]).fetchall()


def expired_runs(conn: Connection[Any]) -> list[UUID]:
    """Return the runs that nobody works on: queued ones and those whose lease ran out."""
    sql = """
        SELECT id FROM training_runs
        WHERE state NOT IN ('promoted', 'rejected', 'failed')
          AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
        ORDER BY created_at
    """
    return [row[0] for row in conn.execute(sql)]


def fail_exhausted_runs(conn: Connection[Any], max_attempts: int) -> int:
    """Fail the runs that nobody works on and that have no attempt left; return how many."""
    sql = """
        UPDATE training_runs
        SET state = 'failed', finished_at = clock_timestamp(), lease_expires_at = NULL,
            error = format('the trainer stopped %%s times without finishing; see its log, then '
                           'start a new run%%s', attempt,
                           CASE WHEN error = '' THEN '' ELSE ' (last: ' || error || ')' END)
        WHERE state NOT IN ('promoted', 'rejected', 'failed')
          AND attempt >= %(max_attempts)s
          AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
        RETURNING id
    """
    failed = conn.execute(sql, {"max_attempts": max_attempts}).fetchall()
    for (run_id,) in failed:
        end_attempt(conn, run_id, LOST, VANISHED)
    return len(failed)


def _runs(conn: Connection[Any], *, run_id: UUID | None, limit: int) -> list[TrainingRun]:
    sql = """
        SELECT id, state, trigger, attempt, lease_token, lease_expires_at, progress, dataset_id,
               (SELECT name FROM adapters a WHERE a.run_id = r.id ORDER BY version DESC LIMIT 1)
                   AS adapter_name,
               reasons, error, created_at, started_at, finished_at
        FROM training_runs r
        WHERE %(id)s::uuid IS NULL OR id = %(id)s
        ORDER BY created_at DESC, id DESC
        LIMIT %(limit)s
    """
    with conn.cursor(row_factory=kwargs_row(_run)) as cur:
        return cur.execute(sql, {"id": run_id, "limit": limit}).fetchall()


def _run(*, state: str, **columns: Any) -> TrainingRun:
    return TrainingRun(state=RunState(state), **columns)


def _fenced(conn: Connection[Any], sql: str, run_id: UUID, token: int, **params: Any) -> None:
    """Run one write that names the token; no row written means that the token is old."""
    written = conn.execute(sql.encode(), {"id": run_id, "token": token, **params}).rowcount
    if written == 0:
        raise LeaseLost(f"run {run_id} is no longer held under token {token}; stopping")
