"""Runs and their jobs, the deployment log, and what the feedback tables give to learn from."""

import threading
from uuid import uuid4

import pytest

from core import conversations, feedback, learning
from core.attempts import Outcome
from core.base_model import BaseModel
from core.errors import NotFound, TurnNotFound
from core.jobs import end_attempt, list_jobs, report_progress
from core.types import (
    CorrectionStatus,
    DeploymentKind,
    GateReport,
    Rating,
    RunState,
    TrainingStep,
    TurnStatus,
    Verdict,
)
from tests.builders import ADMIN, ANNA, BEN, make_messages, make_turn
from tests.worker import hold
from training.examples import load_examples
from training.objectives import DPO
from training.signals import Caps, WhyNot, load_signals, load_signals_of

CAPS = Caps(per_rater=50, per_address=200)

BASE = BaseModel("base")


def queued(conn):
    """A new run."""
    return learning.request_run(conn, "command")


def leased(conn, run=None):
    """The job of a run, held by us; of a new one if none is given."""
    run or queued(conn)
    return hold(conn)


def registered(conn, run_id=None):
    """A row for an adapter whose files don't matter."""
    version, name = learning.next_adapter_name(conn)
    return learning.insert_adapter(
        conn,
        name=name,
        version=version,
        run_id=run_id,
        path="/nowhere",
        sha256="0",
        base_model="base",
        rank=8,
    )


# Runs ----------------------------------------------------------------------------------------


def test_only_one_run_is_active(conn):
    """However often the button is pressed."""
    first = queued(conn)

    assert learning.request_run(conn, "button") is None
    assert [first.id] == [run.id for run in learning.list_runs(conn)]


def test_a_period_has_one_run_even_after_it_ended(conn):
    """Three beats ring for the same night."""
    learning.request_run(conn, "beat", "night 7")
    end_attempt(conn, hold(conn), Outcome.FAILED, reason="disk full")

    assert learning.request_run(conn, "beat", "night 7") is None
    assert [] == [job for job in list_jobs(conn) if job.is_open]
    assert learning.request_run(conn, "beat", "night 8") is not None


def test_many_requests_at_once_give_one_run(database):
    """The database decides, not who came first to look."""
    results = []

    def ask():
        with database.connect() as conn:
            results.append(learning.request_run(conn, "button"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == sum(run is not None for run in results)


def test_a_run_is_where_its_job_is_until_it_is_judged(conn):
    """Page and command read one state, whatever it is put together from."""
    run = queued(conn)
    states = [run.state]
    job = leased(conn, run)
    states.append(learning.get_run(conn, run.id).state)
    for phase in (RunState.FITTING, RunState.GATING, RunState.DEPLOYING):
        report_progress(conn, job, 60, {"message": "m"}, phase=phase)
        states.append(learning.get_run(conn, run.id).state)
    learning.judge_run(conn, run.id, RunState.REJECTED, ["worse"])
    end_attempt(conn, job, Outcome.DONE, result={"outcome": "rejected"})
    ended = learning.get_run(conn, run.id)

    expected = ["queued", "freezing", "fitting", "gating", "deploying", "rejected"]
    assert expected == [*states, ended.state]
    assert (["worse"], "", True) == (ended.reasons, ended.error, ended.finished_at is not None)
    assert all(state.is_final == (state == "rejected") for state in [*states, ended.state])


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
def test_a_run_that_ended_unjudged_says_why(conn, outcome):
    """Neither promoted nor rejected."""
    run = queued(conn)
    end_attempt(conn, leased(conn, run), outcome, reason="a person said so")

    ended = learning.get_run(conn, run.id)

    assert (outcome.value, "a person said so") == (ended.state.value, ended.error)
    assert ended.state.is_final


def test_a_new_training_forgets_the_steps_of_the_one_before(conn):
    """Else the loss curve would show two runs at once."""
    run = queued(conn)
    learning.record_step(conn, run.id, TrainingStep(1, 0.7, 0.0, 0.5))
    learning.forget_steps(conn, run.id)
    learning.record_step(conn, run.id, TrainingStep(1, 0.6, 0.1, 0.5))
    learning.record_step(conn, run.id, TrainingStep(1, 0.5, 0.25, 1.0))

    assert [TrainingStep(1, 0.5, 0.25, 1.0)] == learning.run_steps(conn, run.id)


def test_an_unknown_run_is_named(conn):
    """A wrong id must not look like an empty result."""
    with pytest.raises(NotFound, match="no training run"):
        learning.get_run(conn, uuid4())


# Adapters and deployments --------------------------------------------------------------------


def test_adapter_names_are_never_given_out_twice(database):
    """vLLM's prefix cache is keyed by name: a name used again may serve stale cache."""
    with database.connect() as conn:
        first = learning.next_adapter_name(conn)
        conn.rollback()
    with database.connect() as conn:
        second = learning.next_adapter_name(conn)

    assert ((1, "support-v0001"), (2, "support-v0002")) == (first, second)


def test_the_newest_row_is_live_and_the_log_keeps_all(conn):
    """A rollback is one more row."""
    a, b = registered(conn).name, registered(conn).name
    assert (None, None) == (learning.live_adapter(conn), learning.previous_live(conn, BASE))
    for name, kind in ((a, "promote"), (b, "promote"), (a, "rollback")):
        learning.deploy(conn, name, DeploymentKind(kind), "test", "")

    assert (a, b) == (learning.live_adapter(conn), learning.previous_live(conn, BASE))
    assert [a, b, a] == [row.adapter_name for row in learning.list_deployments(conn)]


def test_before_the_first_adapter_the_base_model_was_live(conn):
    """Rolling back the first promotion leads to the base model."""
    learning.deploy(conn, registered(conn).name, DeploymentKind.PROMOTE, "test", "")

    assert learning.previous_live(conn, BASE) is None


def test_a_candidate_is_on_trial_until_its_run_ends(conn):
    """Reconcile must not unload what the gate is asking."""
    run = queued(conn)
    job = leased(conn, run)
    adapter = registered(conn, run.id)
    during = learning.adapters_on_trial(conn)
    report = GateReport(False, ["worse"], {"heldout_pairs": 9})
    learning.insert_gate_report(conn, run.id, adapter.name, None, report)
    learning.judge_run(conn, run.id, RunState.REJECTED, report.reasons)
    end_attempt(conn, job, Outcome.DONE, result={})

    assert ({adapter.name}, set()) == (during, learning.adapters_on_trial(conn))
    assert report == learning.gate_report_of(conn, run.id)
    assert adapter.name == learning.get_run(conn, run.id).adapter_name


# Feedback ------------------------------------------------------------------------------------


def test_feedback_has_the_exact_messages(conn):
    """The prompt trained on is the prompt that was served."""
    messages = make_messages("Où?", "Guidelines\n\n[1] A > B\n“x”")
    turn = make_turn(conn, messages=messages, answer="Là. [1]")
    feedback.add_correction(conn, turn.id, ANNA, "Ici. [1]", by_admin=True)

    [example] = load_examples(conn, CAPS)

    assert messages == example.prompt
    assert DPO.columns_of("Là. [1]", "Ici. [1]") == example.columns


def test_regenerated_answers_count_and_deleted_or_broken_ones_do_not(conn):
    """A superseded answer was still said; a deleted conversation was taken back."""
    first = make_turn(conn, answer="Old.")
    make_turn(conn, conversation_id=first.conversation_id, answer="New.")
    broken = make_turn(conn, status=TurnStatus.STOPPED)
    deleted = make_turn(conn)
    for turn in (first, broken, deleted):
        feedback.add_correction(conn, turn.id, ADMIN, "Better.", by_admin=True)
    conversations.delete_conversation(conn, deleted.conversation_id, ANNA)

    counting = [each for each in load_signals(conn, CAPS) if each.counting]
    assert ["Old."] == [each.answer.answer for each in counting]


def test_of_each_author_the_newest_correction_counts_where_it_is_approved(conn):
    """An author's second thought replaces the first, and waits for a review of its own."""
    turn = make_turn(conn)
    for author_id, bodies in ((ANNA, ["first", "second"]), (BEN, ["good", "Buy elsewhere."])):
        first, second = (
            feedback.add_correction(conn, turn.id, author_id, body, by_admin=False)
            for body in bodies
        )
        approved = second if author_id == ANNA else first
        feedback.decide_correction(conn, approved.id, CorrectionStatus.APPROVED)

    [signals] = load_signals(conn, CAPS)

    assert "second" == signals.counting.body


def test_an_answer_that_was_only_disliked_is_read_when_it_is_asked_for(conn):
    """The desk shows what was said of it and that none of it counts; the counting skips it."""
    turn = make_turn(conn)
    feedback.record_rating(conn, turn.id, ANNA, Rating.DOWN, ["tone"], "Rude!")
    feedback.record_rating(conn, turn.id, BEN, Rating.DOWN)
    feedback.record_rating(conn, turn.id, BEN, Rating.CLEARED)
    feedback.record_review(conn, turn.id, Verdict.TONE_OR_POLICY, "indeed", ADMIN)
    feedback.add_correction(conn, turn.id, ANNA, "Kindly.", by_admin=False)

    signals = load_signals_of(conn, turn.id, CAPS)

    assert [(ANNA, "Rude!")] == [(t.said.rater_id, t.said.comment) for t in signals.thumbs]
    assert [("indeed", ADMIN)] == [(r.said.note, r.said.reviewer_id) for r in signals.reviews]
    assert [WhyNot.NOT_REVIEWED] == [c.why_not for c in signals.corrections]
    assert [] == load_signals(conn, CAPS)
    with pytest.raises(TurnNotFound):
        load_signals_of(conn, uuid4(), CAPS)
