"""When the clock starts a run, and when it stays quiet."""

from uuid import uuid4

from psycopg.types.json import Jsonb

from core import feedback, learning
from core.attempts import Outcome
from core.jobs import end_attempt
from core.types import CorrectionStatus
from tests.builders import make_turn
from tests.worker import claim
from training import schedule
from training.examples import ExampleCount, count_examples, load_examples
from training.signals import Caps


def give_corrections(conn, n, start=0, *, approved=True):
    """Store n corrections of answers to different questions by different people."""
    for number in range(start, start + n):
        question = f"Question {number}?"
        turn = make_turn(conn, question=question, answer="Old.")
        rater_id = uuid4()
        correction = feedback.add_correction(
            conn, turn.id, rater_id, f"New {number}.", by_admin=False
        )
        if approved:
            feedback.decide_correction(conn, correction.id, CorrectionStatus.APPROVED)


def count(database, settings):
    """How much there is to learn from."""
    with database.connect() as conn:
        return count_examples(conn, Caps.of(settings))


def freeze_now(conn, ids):
    """Store a dataset that holds these examples."""
    known = [{"id": each} for each in ids]
    conn.execute(
        "INSERT INTO datasets (id, path, sha256, n_train, n_heldout, manifest, created_at) "
        "VALUES (%s, '', '', 0, 0, %s, clock_timestamp())",
        [uuid4(), Jsonb({"examples": known})],
    )


def test_enough_new_examples_start_a_run(database, settings):
    """The product learns without anybody pressing a button."""
    settings = settings.model_copy(update={"retrain_min_new_pairs": 20})
    with database.connect() as conn:
        give_corrections(conn, 19)
    too_few = schedule.request_by_threshold(database, settings)
    with database.connect() as conn:
        give_corrections(conn, 1, start=19)

    assert too_few is None
    assert "threshold" == schedule.request_by_threshold(database, settings).trigger


def test_examples_that_were_frozen_already_are_not_new(database, settings):
    """Else a rejected run would be repeated every minute."""
    with database.connect() as conn:
        give_corrections(conn, 20)
        known = [str(example.id) for example in load_examples(conn, Caps.of(settings))]
        freeze_now(conn, known)

    assert ExampleCount(20, 0) == count(database, settings)
    assert schedule.request_by_period(database, settings) is None


def test_an_old_correction_approved_since_the_last_training_is_new(database, settings):
    """An admin works through the queue days later; that starts a run, nothing else does."""
    settings = settings.model_copy(update={"retrain_min_new_pairs": 20})
    with database.connect() as conn:
        give_corrections(conn, 20, approved=False)
        freeze_now(conn, [])
    before = schedule.request_by_threshold(database, settings)
    with database.connect() as conn:
        for (correction_id,) in conn.execute("SELECT id FROM corrections").fetchall():
            feedback.decide_correction(conn, correction_id, CorrectionStatus.APPROVED)

    assert before is None
    assert ExampleCount(20, 20) == count(database, settings)
    assert schedule.request_by_threshold(database, settings) is not None


def test_a_period_starts_one_run_when_there_is_something_to_learn(database, settings):
    """Nightly training, and no noise in quiet nights."""
    quiet = schedule.request_by_period(database, settings)
    with database.connect() as conn:
        give_corrections(conn, 20)
    day_s = settings.retrain_every_hours * 3600
    runs = [schedule.request_by_period(database, settings, 5 * day_s + n) for n in range(3)]

    assert quiet is None
    assert [True, False, False] == [run is not None for run in runs]


def test_what_has_just_failed_is_not_started_again_by_the_clock(database, settings):
    """A full disk must not give a failed run every minute."""
    with database.connect() as conn:
        give_corrections(conn, 60)
        learning.request_run(conn, "command")
    job = claim(database, settings, "retrain")
    with database.connect() as conn:
        end_attempt(conn, job, Outcome.FAILED, reason="disk full")

    assert schedule.request_by_threshold(database, settings) is None
    with database.connect() as conn:
        assert learning.request_run(conn, "button") is not None
