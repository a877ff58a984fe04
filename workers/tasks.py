"""One door per job, no logic: each opens the database, calls one function, closes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from celery.utils.log import get_task_logger

from core.db import Database
from core.settings import get_settings
from retrieval import jobs
from training import deploy, pipeline, schedule
from workers.app import REAP_EVERY_S, app

log = get_task_logger(__name__)


@contextmanager
def _database() -> Iterator[Database]:
    # Opened per task: a pool must not be shared with the process that was forked from.
    db = Database(get_settings().dsn, max_size=4).open()
    try:
        yield db
    finally:
        db.close()


@app.task(name="retrain")
def retrain(run_id: str) -> None:
    """Carry out a run; safe to deliver any number of times."""
    with _database() as db:
        state = pipeline.retrain(db, get_settings(), UUID(run_id))
    log.info("run %s: %s", run_id, state.value if state else "not ours to do")


@app.task(name="reap")
def reap() -> None:
    """Ring for every run that waits or was left behind, and close what can't go on."""
    with _database() as db:
        for run_id in schedule.waiting_runs(db, get_settings()):
            retrain.apply_async((str(run_id),), expires=2 * REAP_EVERY_S)


@app.task(name="threshold")
def threshold() -> None:
    """Request a run when enough new pairs have come."""
    with _database() as db:
        schedule.request_by_threshold(db, get_settings())


@app.task(name="period")
def period() -> None:
    """Request this period's run, if there is anything new to learn."""
    with _database() as db:
        schedule.request_by_period(db, get_settings())


@app.task(name="reconcile")
def reconcile() -> None:
    """Bring every model server to what should serve."""
    with _database() as db:
        for change in deploy.bring(db, get_settings()):
            log.info(change)


@app.task(name="work_off")
def work_off() -> None:
    """Carry out a job that a page asked for, if one waits."""
    with _database() as db:
        job = jobs.work_off(db, get_settings())
    if job:
        log.info("job %s: %s", job.id, job.kind)
