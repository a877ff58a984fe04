"""When the clock starts a run, and when it stays quiet."""

from uuid import uuid4

from psycopg.types.json import Jsonb

from core import feedback, learning
from core.types import Rating, RunState
from tests.builders import make_turn
from training import schedule


def give_pairs(conn, n, start=0):
    """Store n corrected answers on different questions by different people."""
    for number in range(start, start + n):
        question = f"Question {number}?"
        turn = make_turn(conn, question=question, answer="Old.")
        rater_id = uuid4()
        feedback.record_rating(conn, turn.id, rater_id, Rating.DOWN)
        feedback.add_correction(conn, turn.id, rater_id, f"New {number}.", by_admin=False)


def freeze_now(conn, n_known):
    """Store a dataset that holds as many pairs as there are now."""
    known = [{"id": str(uuid4())} for _ in range(n_known)]
    conn.execute(
        "INSERT INTO datasets (id, path, sha256, n_train, n_heldout, manifest, created_at) "
        "VALUES (%s, '', '', 0, 0, %s, clock_timestamp())",
        [uuid4(), Jsonb({"pairs": known})],
    )


def test_enough_new_pairs_start_a_run(database, settings):
    """The product learns without anybody pressing a button."""
    settings = settings.model_copy(update={"retrain_min_new_pairs": 20})
    with database.connect() as conn:
        give_pairs(conn, 19)
    too_few = schedule.request_by_threshold(database, settings)
    with database.connect() as conn:
        give_pairs(conn, 1, start=19)

    assert too_few is None
    assert "threshold" == schedule.request_by_threshold(database, settings).trigger


def test_pairs_that_were_frozen_already_are_not_new(database, settings):
    """Else a rejected run would be repeated every minute."""
    with database.connect() as conn:
        give_pairs(conn, 20)
        freeze_now(conn, 20)

    assert (0, 0) == schedule.count_pairs(database, settings)
    assert schedule.request_by_period(database, settings) is None


def test_a_period_starts_one_run_when_there_is_something_to_learn(database, settings):
    """Nightly training, and no noise in quiet nights."""
    quiet = schedule.request_by_period(database, settings)
    with database.connect() as conn:
        give_pairs(conn, 20)
    day_s = settings.retrain_every_hours * 3600
    runs = [schedule.request_by_period(database, settings, 5 * day_s + n) for n in range(3)]

    assert quiet is None
    assert [True, False, False] == [run is not None for run in runs]


def test_what_has_just_failed_is_not_started_again_by_the_clock(database, settings):
    """A full disk must not give a failed run every minute."""
    with database.connect() as conn:
        give_pairs(conn, 60)
        run = learning.lease_run(conn, learning.request_run(conn, "command").id, 60, 3)
        learning.advance_run(conn, run.id, run.lease_token, RunState.FAILED, error="disk full")

    assert schedule.request_by_threshold(database, settings) is None
    with database.connect() as conn:
        assert learning.request_run(conn, "button") is not None
