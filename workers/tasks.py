"""What beat and `begin` call, no logic: each opens the database, calls one function, closes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from celery.utils.log import get_task_logger

from core import attempts, jobs
from core.db import Database
from core.settings import get_settings
from training import deploy, schedule
from workers.app import BEGIN_EVERY_S, app
from workers.carry_out import carry_out_one
from workers.kinds import kinds

log = get_task_logger(__name__)
logging.getLogger(attempts.__name__).setLevel(logging.INFO)  # each attempt's end, a good one too


@contextmanager
def _database() -> Iterator[Database]:
    # Opened per task: a pool must not be shared with the process that was forked from.
    db = Database(get_settings().dsn, max_size=4).open()
    try:
        yield db
    finally:
        db.close()


@app.task(name="begin")
def begin() -> None:
    """Send a message for each job that waits or whose worker is gone, to its kind's queue."""
    known = kinds(get_settings())
    with _database() as db:
        schedule.request_by_ejections(db)
        with db.connect() as conn:
            waiting = jobs.count_waiting(conn)
    for kind in (known[name] for name in waiting if name in known):
        for _ in range(min(waiting[kind.name], kind.at_once)):
            carry_out.apply_async((kind.name,), queue=kind.queue, expires=2 * BEGIN_EVERY_S)


@app.task(name="carry_out")
def carry_out(kind: str) -> None:
    """Carry out a job of this kind, if one may begin; safe to deliver any number of times."""
    with _database() as db:
        carry_out_one(db, get_settings(), kinds(get_settings())[kind])


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
