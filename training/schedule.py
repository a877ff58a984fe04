"""When a run is due: enough new pairs, a new period, somebody ejected."""

from __future__ import annotations

import time

from core import learning
from core.db import Database
from core.settings import Settings
from core.types import RunState, TrainingRun
from training.dataset import MIN_PAIRS
from training.eject import request_run_without_ejected
from training.pairs import build_pairs

REST_AFTER_FAILURE_S = 3600.0  # before beat tries again what has just failed


def request_by_ejections(db: Database) -> None:
    """Queue the run that ejections asked for while another one was active, once that has ended."""
    with db.connect() as conn:
        request_run_without_ejected(conn)


def request_by_threshold(db: Database, settings: Settings) -> TrainingRun | None:
    """Queue a run when at least `retrain_min_new_pairs` pairs are in no dataset yet."""
    n_pairs, n_new = count_pairs(db, settings)
    if n_new < settings.retrain_min_new_pairs or n_pairs < MIN_PAIRS:
        return None
    return _request(db, "threshold", None)


def request_by_period(
    db: Database, settings: Settings, now_s: float | None = None
) -> TrainingRun | None:
    """Queue this period's run, once, when there is at least one new pair and enough in all."""
    n_pairs, n_new = count_pairs(db, settings)
    if not n_new or n_pairs < MIN_PAIRS:
        return None
    period_s = settings.retrain_every_hours * 3600
    number = int((time.time() if now_s is None else now_s) // period_s)
    return _request(db, "beat", f"every {settings.retrain_every_hours:g} h: {number}")


def count_pairs(db: Database, settings: Settings) -> tuple[int, int]:
    """Return how many pairs the feedback gives now, and how many are not in the newest dataset."""
    with db.connect() as conn:
        newest = learning.newest_dataset(conn)
        rows = learning.raw_feedback(conn)
    pairs = build_pairs(rows, settings.max_pairs_per_rater, settings.max_pairs_per_address)
    known = {pair["id"] for pair in newest[1]["pairs"]} if newest is not None else set()
    return len(pairs), sum(str(pair.id) not in known for pair in pairs)


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
