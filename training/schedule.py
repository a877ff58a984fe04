"""When a run is due: enough new examples, a new period, somebody ejected."""

from __future__ import annotations

import time

from core import learning
from core.db import Database
from core.settings import Settings
from core.types import RunState, TrainingRun
from training.dataset import MIN_EXAMPLES
from training.eject import request_run_without_ejected
from training.examples import ExampleCount, count_examples
from training.signals import Caps

REST_AFTER_FAILURE_S = 3600.0  # before beat tries again what has just failed


def request_by_ejections(db: Database) -> None:
    """Queue the run that ejections asked for while another one was active, once that has ended."""
    with db.connect() as conn:
        request_run_without_ejected(conn)


def request_by_threshold(db: Database, settings: Settings) -> TrainingRun | None:
    """Queue a run when at least `retrain_min_new_pairs` examples are in no dataset yet."""
    found = _count(db, settings)
    if found.n_new < settings.retrain_min_new_pairs or found.n_examples < MIN_EXAMPLES:
        return None
    return _request(db, "threshold", None)


def request_by_period(
    db: Database, settings: Settings, now_s: float | None = None
) -> TrainingRun | None:
    """Queue this period's run, once, when there is at least one new example and enough in all."""
    found = _count(db, settings)
    if not found.n_new or found.n_examples < MIN_EXAMPLES:
        return None
    period_s = settings.retrain_every_hours * 3600
    number = int((time.time() if now_s is None else now_s) // period_s)
    return _request(db, "beat", f"every {settings.retrain_every_hours:g} h: {number}")


def _count(db: Database, settings: Settings) -> ExampleCount:
    with db.connect() as conn:
        return count_examples(conn, Caps.of(settings))


def _request(db: Database, trigger: str, period: str | None) -> TrainingRun | None:
    with db.connect() as conn:
        if _failed_just_now(learning.list_runs(conn, limit=1)):
            return None
        return learning.request_run(conn, trigger, period)


def _failed_just_now(newest: list[TrainingRun]) -> bool:
    return any(
        run.state is RunState.FAILED
        and run.finished_at is not None
        and time.time() - run.finished_at.timestamp() < REST_AFTER_FAILURE_S
        for run in newest
    )
