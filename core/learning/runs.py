"""SQL of training runs: what each learned from and how it was judged; its job says where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row, kwargs_row

from core.errors import NotFound
from core.jobs import request_once
from core.types import RunState, TrainingRun, TrainingStep

RETRAIN = "retrain"  # the kind of a run's job; as its key it lets one be open at a time


def request_run(
    conn: Connection[Any], trigger: str, period: str | None = None
) -> TrainingRun | None:
    """
    Queue a run and return it; None when one is active or this period already had its run.

    Two unique indexes decide, so any number of callers at once agree. The caller owns the
    transaction, as everywhere in this module.
    """
    sql = """
        INSERT INTO training_runs (id, trigger, period) VALUES (%s, %s, %s)
        ON CONFLICT (period) DO NOTHING
    """
    job = request_once(conn, RETRAIN, {}, key=RETRAIN)
    if job is None:
        return None
    if not conn.execute(sql, (job.id, trigger, period)).rowcount:
        conn.execute("DELETE FROM jobs WHERE id = %s", [job.id])  # it was never committed
        return None
    return get_run(conn, job.id)


def set_dataset(conn: Connection[Any], run_id: UUID, dataset_id: UUID) -> None:
    """Store what the run learns from."""
    conn.execute("UPDATE training_runs SET dataset_id = %s WHERE id = %s", (dataset_id, run_id))


def judge_run(
    conn: Connection[Any], run_id: UUID, outcome: RunState, reasons: Sequence[str] = ()
) -> None:
    """Store that the run is PROMOTED or REJECTED, and why; its job is done right after."""
    sql = "UPDATE training_runs SET outcome = %s, reasons = %s WHERE id = %s"
    conn.execute(sql, (outcome.value, list(reasons), run_id))


def forget_steps(conn: Connection[Any], run_id: UUID) -> None:
    """Delete the steps of an attempt before: a loss curve shows one training."""
    conn.execute("DELETE FROM training_steps WHERE run_id = %s", (run_id,))


def record_step(conn: Connection[Any], run_id: UUID, step: TrainingStep) -> None:
    """Store one logged optimiser step; the same step again replaces it."""
    sql = """
        INSERT INTO training_steps (run_id, step, loss, margin, accuracy)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (run_id, step) DO UPDATE
        SET loss = excluded.loss, margin = excluded.margin, accuracy = excluded.accuracy
    """
    conn.execute(sql, (run_id, step.step, step.loss, step.margin, step.accuracy))


def get_run(conn: Connection[Any], run_id: UUID) -> TrainingRun:
    """
    Return one run.

    Raises:
        NotFound: No run has this id.
    """
    rows = _runs(conn, run_id=run_id, limit=1)
    if not rows:
        raise NotFound(f"no training run {run_id}; `ratchet jobs` lists the runs")
    return rows[0]


def list_runs(conn: Connection[Any], limit: int = 20) -> list[TrainingRun]:
    """Return the newest runs, newest first."""
    return _runs(conn, run_id=None, limit=limit)


def run_steps(conn: Connection[Any], run_id: UUID) -> list[TrainingStep]:
    """Return a run's logged steps in order."""
    sql = "SELECT step, loss, margin, accuracy FROM training_steps WHERE run_id = %s ORDER BY step"
    with conn.cursor(row_factory=class_row(TrainingStep)) as cur:
        return cur.execute(sql, [run_id]).fetchall()


def _runs(conn: Connection[Any], *, run_id: UUID | None, limit: int) -> list[TrainingRun]:
    # The phases of a run's job are named like the states that a run at work is in.
    sql = """
        SELECT id, trigger, j.attempt, j.progress, r.dataset_id, r.reasons, j.error,
               coalesce(r.outcome, CASE j.state WHEN 'running' THEN nullif(j.phase, '')
                                   ELSE j.state END, 'freezing') AS state,
               (SELECT name FROM adapters a WHERE a.run_id = r.id ORDER BY version DESC LIMIT 1)
                   AS adapter_name,
               j.created_at, j.started_at, j.finished_at
        FROM training_runs r JOIN jobs j USING (id)
        WHERE %(id)s::uuid IS NULL OR id = %(id)s
        ORDER BY j.created_at DESC, id DESC
        LIMIT %(limit)s
    """
    with conn.cursor(row_factory=kwargs_row(_run)) as cur:
        return cur.execute(sql, {"id": run_id, "limit": limit}).fetchall()


def _run(*, state: str, **columns: Any) -> TrainingRun:
    return TrainingRun(state=RunState(state), **columns)
