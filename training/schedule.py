"""When a run is due: runs that wait, enough new pairs, a new period."""

from __future__ import annotations

import time
from uuid import UUID

from core import conversations, learning
from core.db import Database
from core.settings import Settings
from core.types import RunState, TrainingRun
from training.dataset import MIN_PAIRS
from training.eject import request_run_without_ejected
from training.pairs import build_pairs

STALE_TURN_S = 600.0  # no answer takes this long; its web server was killed
REST_AFTER_FAILURE_S = 3600.0  # before beat tries again what has just failed


def waiting_runs(db: Database, settings: Settings) -> list[UUID]:
    """
    Return the runs that nobody works on: queued ones, and those whose worker is gone.

    Runs without an attempt left are failed first, and answers that were broken off by a kill
    are closed, so that nothing waits for them. What an ejection asked for while another run
    was active is requested as soon as that one has ended.
    """
    with db.connect() as conn:
        conversations.fail_stale_turns(conn, STALE_TURN_S)
        learning.fail_exhausted_runs(conn, settings.max_attempts)
        request_run_without_ejected(conn)
        return learning.expired_runs(conn)


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
