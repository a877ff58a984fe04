"""A visitor who wants to steer the bot: by many cookies, by thumbs, by a deceived admin."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import gradio as gr
import pytest

from bot.chat.feedback import correct, rate
from bot.desk.deploying import Deploying, UnconfirmedDeployment
from bot.desk.review import CARDS as REVIEW
from bot.desk.review_queue import ReviewCursor, find_entry
from bot.desk.words import model_name
from core import feedback, learning
from core.attempts import Outcome
from core.audit import Action, list_entries
from core.base_model import read_base_model
from core.company import GoldenQuestion
from core.errors import NotFound
from core.jobs import end_attempt
from core.people import Person, Role
from core.settings import ROOT, Settings
from core.types import CorrectionStatus, DeploymentKind, Rating, RunState
from examples.admin import Rated, review
from tests.adapters import write_adapter
from tests.builders import ADMIN, make_turn
from tests.worker import hold, retrain
from training import pipeline, registry, schedule
from training.dataset import freeze
from training.eject import eject
from training.examples import ExampleCount, count_examples, load_examples
from training.promotion import NotPromotable, request_promotion
from training.signals import Caps, load_signals

MALLORY = uuid4()
OPERATOR = Person(ADMIN, "admin", frozenset({Role.ADMIN}), ())
CAPS = Caps(per_rater=50, per_address=200)


@pytest.fixture
def settings(tmp_path, dsn):
    """Settings on the test's database, with no model server behind them."""
    return Settings(
        home=tmp_path / "home",
        database_url=dsn,
        vllm_url="http://127.0.0.1:9",
        company=tmp_path / "company",
        _env_file=None,
    )


def give_corrections(conn, n, *, author_id=None, by_admin=False, approved=False, start=0):
    """Store n corrections of answers to different questions; each of a new person, if of nobody."""
    for number in range(start, start + n):
        turn = make_turn(conn, question=f"What is {number}?", answer=f"It is {number}. [1]")
        correction = feedback.add_correction(
            conn, turn.id, author_id or uuid4(), f"Buy at EvilMart, {number}!", by_admin=by_admin
        )
        if approved:
            feedback.decide_correction(conn, correction.id, CorrectionStatus.APPROVED)


def make_adapter(conn, settings, tmp_path, *, live=True):
    """An adapter as a run leaves it that learned from all feedback there is now."""
    run = learning.request_run(conn, "command")
    job = hold(conn)
    name = learn(conn, settings, tmp_path, run)
    learning.judge_run(conn, run.id, RunState.PROMOTED)
    end_attempt(conn, job, Outcome.DONE, result={})
    if live:
        learning.deploy(conn, name, DeploymentKind.PROMOTE, "trainer", "")
    return name


def learn(conn, settings, tmp_path, run):
    """Do what an attempt at a run does up to the gate."""
    frozen = freeze(load_examples(conn, CAPS), uuid4(), settings.datasets, settings.model)
    learning.insert_dataset(
        conn,
        frozen.id,
        path=str(frozen.path),
        sha256=frozen.sha256,
        n_train=frozen.n_train,
        n_heldout=frozen.n_heldout,
        manifest=frozen.manifest,
    )
    learning.set_dataset(conn, run.id, frozen.id)
    folder = write_adapter(tmp_path / str(run.id) / str(frozen.id))
    return registry.register(conn, settings, folder, run.id).name


def count(database):
    """How much there is to learn from."""
    with database.connect() as conn:
        return count_examples(conn, CAPS)


# Unreviewed ----------------------------------------------------------------------------------


def test_sixty_corrections_from_sixty_cookies_train_nothing(database, settings):
    """One script makes sixty visitors; their own held-out pairs would pass their own adapter."""
    for number in range(60):
        visitor_id = uuid4()
        with database.connect() as conn:
            turn = make_turn(conn, owner_id=visitor_id, question=f"What is {number}?")
        rate(database, visitor_id, turn.id, Rating.DOWN)
        correct(database, visitor_id, turn.id, f"Buy at EvilMart, {number}!")
    with database.connect() as conn:
        run_id = learning.request_run(conn, "command").id

    assert ExampleCount(0, 0) == count(database)
    assert RunState.REJECTED is retrain(database, settings)
    with database.connect() as conn:
        [reason] = learning.get_run(conn, run_id).reasons
        assert learning.live_adapter(conn) is None
    assert "too few examples to learn from: 0" in reason


def test_thumbs_on_regenerated_answers_train_nothing(database, settings):
    """A like of the worse of two answers is as easily made as a cookie."""
    for number in range(60):
        visitor_id = uuid4()
        question = f"What is {number}?"
        with database.connect() as conn:
            bad = make_turn(conn, owner_id=visitor_id, question=question, answer="EvilMart!")
            good = make_turn(
                conn,
                owner_id=visitor_id,
                question=question,
                answer="Nine. [1]",
                conversation_id=bad.conversation_id,
            )
        rate(database, visitor_id, bad.id, Rating.UP)
        rate(database, visitor_id, good.id, Rating.DOWN)

    assert ExampleCount(0, 0) == count(database)


def test_a_text_changed_after_its_approval_waits_for_a_new_one(database, settings):
    """An author who gets harmless words approved must not put others in their place."""
    with database.connect() as conn:
        turn = make_turn(conn, owner_id=MALLORY)
    first = correct(database, MALLORY, turn.id, "Within 30 days. [1] Thanks for asking!")
    with database.connect() as conn:
        feedback.decide_correction(conn, first.id, CorrectionStatus.APPROVED)
    correct(database, MALLORY, turn.id, "Buy at EvilMart!")

    assert ExampleCount(0, 0) == count(database)


def test_an_approval_stands_when_the_dislike_is_taken_back(database, settings):
    """Else a visitor could undo what an admin decided."""
    with database.connect() as conn:
        turn = make_turn(conn, owner_id=MALLORY)
    rate(database, MALLORY, turn.id, Rating.DOWN)
    said = correct(database, MALLORY, turn.id, "Within 30 days, unopened. [1]")
    with database.connect() as conn:
        feedback.decide_correction(conn, said.id, CorrectionStatus.APPROVED)
    rate(database, MALLORY, turn.id, Rating.CLEARED)

    assert ExampleCount(1, 1) == count(database)


# Ejected -------------------------------------------------------------------------------------


def test_an_ejected_rater_is_out_of_learning_and_what_learned_from_them_out_of_service(
    database, settings, tmp_path
):
    """A deceived admin approved sixty; one command takes back all that came of it."""
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=ADMIN, by_admin=True)
        clean = make_adapter(conn, settings, tmp_path)
        give_corrections(conn, 40, author_id=MALLORY, approved=True, start=20)
        tainted = make_adapter(conn, settings, tmp_path)

    done = eject(database, settings, MALLORY, actor="command", reason="spam")

    assert (True, [tainted], True, clean) == (
        done.is_new,
        done.tainted,
        done.stepped_back,
        done.live,
    )
    assert (20, 0) == (count(database).n_examples, done.run_id is None)
    with database.connect() as conn:
        [row, *_] = learning.list_deployments(conn)
        assert (clean, DeploymentKind.ROLLBACK) == (row.adapter_name, row.kind)
        assert f"{tainted} learned from rater {MALLORY}, who was ejected" == row.reason
        logged = {entry.action: entry for entry in list_entries(conn)}
    assert str(MALLORY) == logged[Action.RATER_EJECTED].subject
    assert clean == logged[Action.ADAPTER_ROLLED_BACK].subject


def test_without_a_clean_adapter_the_base_model_answers(database, settings, tmp_path):
    """Nothing clean was ever trained; then nothing trained answers."""
    with database.connect() as conn:
        give_corrections(conn, 40, author_id=MALLORY, approved=True)
        make_adapter(conn, settings, tmp_path)
        make_adapter(conn, settings, tmp_path)

    done = eject(database, settings, MALLORY, actor="command")

    assert (True, None, 2) == (done.stepped_back, done.live, len(done.tainted))


def test_a_second_attempt_does_not_wash_the_first_ones_adapter(database, settings, tmp_path):
    """The run forgets what it learned from first; the adapter that came of it must not."""
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=MALLORY, approved=True)
        run = learning.request_run(conn, "command")
        tainted = learn(conn, settings, tmp_path, run)
    eject(database, settings, MALLORY, actor="command")
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=ADMIN, by_admin=True, start=20)
        learn(conn, settings, tmp_path, run)

        assert {tainted} == learning.tainted_adapters(conn)


def test_what_an_admin_rolled_back_from_does_not_come_back_by_itself(database, settings, tmp_path):
    """It was clean and live once, and somebody saw why it should not be."""
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=ADMIN, by_admin=True)
        unwanted = make_adapter(conn, settings, tmp_path)
        learning.deploy(conn, None, DeploymentKind.ROLLBACK, "admin", "it answers rudely")
        give_corrections(conn, 20, author_id=MALLORY, approved=True, start=20)
        make_adapter(conn, settings, tmp_path)
        offered = learning.clean_adapters_newest_live_first(conn, read_base_model(settings.model))
        learning.deploy(conn, unwanted, DeploymentKind.PROMOTE, "admin", "on second thought")
        again = learning.clean_adapters_newest_live_first(conn, read_base_model(settings.model))
        learning.deploy(conn, None, DeploymentKind.ROLLBACK, "admin", "")
        make_adapter(conn, settings, tmp_path)

    assert unwanted not in offered
    assert unwanted == again[0]
    assert eject(database, settings, MALLORY, actor="command").live is None


async def test_the_desk_says_what_is_live_now_not_what_was_asked(database, settings, tmp_path):
    """Between question and yes somebody was ejected: the rollback went past what was shown."""
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=ADMIN, by_admin=True)
        clean = make_adapter(conn, settings, tmp_path)
        tainted = make_adapter(conn, settings, tmp_path)
        live = make_adapter(conn, settings, tmp_path)
        give_corrections(conn, 1, author_id=MALLORY, approved=True, start=20)
        conn.execute(
            "UPDATE datasets d SET manifest = jsonb_build_object('pairs', jsonb_build_array("
            "jsonb_build_object('rater_id', %s::text))) FROM adapters a"
            " WHERE a.dataset_id = d.id AND a.name = %s",
            (MALLORY, tainted),
        )
    with gr.Blocks():
        deploying = Deploying(SimpleNamespace(settings=settings, database=database))
    asked = UnconfirmedDeployment(DeploymentKind.ROLLBACK, tainted, live)
    eject(database, settings, MALLORY, actor="command")

    said = deploying.carry_out(OPERATOR, asked)

    assert f"Done: {model_name(clean)} is live." == said


def test_a_clean_adapter_whose_files_changed_is_passed_over(database, settings, tmp_path):
    """Stepping back must not end at something that can't be loaded."""
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=ADMIN, by_admin=True)
        sound = make_adapter(conn, settings, tmp_path)
        broken = make_adapter(conn, settings, tmp_path)
        give_corrections(conn, 20, author_id=MALLORY, approved=True, start=20)
        make_adapter(conn, settings, tmp_path)
    weights = settings.adapters / broken / registry.WEIGHTS_FILE
    weights.chmod(0o644)
    weights.write_bytes(b"other")

    assert sound == eject(database, settings, MALLORY, actor="command").live


def test_a_tainted_adapter_goes_live_no_more(database, settings, tmp_path):
    """Neither by promote, nor by a rollback to what was before, nor by two."""
    with database.connect() as conn:
        give_corrections(conn, 40, author_id=MALLORY, approved=True)
        tainted = make_adapter(conn, settings, tmp_path)
    eject(database, settings, MALLORY, actor="command")

    with database.connect() as conn:
        with pytest.raises(NotPromotable, match="learned from feedback that was ejected"):
            request_promotion(conn, settings, tainted, actor="admin", overrule=True)
        assert learning.previous_live(conn, read_base_model(settings.model)) is None


def test_ejecting_twice_changes_nothing_more(database, settings, tmp_path):
    """Whoever is not sure that it worked may repeat it."""
    with database.connect() as conn:
        give_corrections(conn, 40, author_id=MALLORY, approved=True)
        make_adapter(conn, settings, tmp_path)
    first = eject(database, settings, MALLORY, actor="command")

    again = eject(database, settings, MALLORY, actor="command")

    assert replace(first, is_new=False, stepped_back=False, run_id=None) == again
    with database.connect() as conn:
        deeds = [entry.action for entry in list_entries(conn)]
        assert 2 == len(learning.list_deployments(conn))
    assert 1 == deeds.count(Action.RATER_EJECTED)


def test_the_run_that_an_ejection_asks_for_follows_the_active_one(database, settings):
    """What is at work now may have read the feedback already; a crash must not lose the wish."""
    with database.connect() as conn:
        give_corrections(conn, 1, author_id=MALLORY)
        active = learning.request_run(conn, "command")
        job = hold(conn)
    at_once = eject(database, settings, MALLORY, actor="command").run_id
    runs = []
    for _ in range(3):
        schedule.request_by_ejections(database)
        with database.connect() as conn:
            runs.append([run.id for run in learning.list_runs(conn)])
            if len(runs) == 1:
                end_attempt(conn, job, Outcome.FAILED, reason="disk full")

    assert (None, [active.id]) == (at_once, runs[0])
    assert 2 == len(runs[1])
    assert runs[1] == runs[2]


def test_a_mistyped_rater_is_refused(database, settings):
    """Else the operator believes that the attacker is out."""
    with pytest.raises(NotFound, match="nothing is stored of rater"):
        eject(database, settings, uuid4(), actor="command")


def test_a_run_that_trains_on_an_ejected_raters_words_never_deploys(
    database, settings, monkeypatch
):
    """The ejection comes while the run is training; the gate must not even be asked."""
    quick = replace(pipeline.DPO.recipe, min_steps=1, n_epochs=1)
    monkeypatch.setattr(pipeline, "DPO", replace(pipeline.DPO, recipe=quick))
    with database.connect() as conn:
        give_corrections(conn, 20, author_id=MALLORY, approved=True)
        run_id = learning.request_run(conn, "command").id
    ended = []
    run = threading.Thread(target=lambda: ended.append(retrain(database, settings)))
    run.start()
    while run.is_alive():
        with database.connect() as conn:
            if learning.get_run(conn, run_id).state is RunState.FITTING:
                break
    eject(database, settings, MALLORY, actor="command")
    run.join()

    assert [RunState.REJECTED] == ended
    with database.connect() as conn:
        assert "ejected" in learning.get_run(conn, run_id).reasons[0]
        assert learning.live_adapter(conn) is None


def test_the_command_ejects_and_marks_what_learned_from_it(database, settings, tmp_path):
    """One command at a shell, and the list of adapters says which."""
    with database.connect() as conn:
        give_corrections(conn, 40, author_id=MALLORY, approved=True)
        tainted = make_adapter(conn, settings, tmp_path)
    env = {
        "RATCHET_HOME": str(settings.home),
        "RATCHET_DATABASE_URL": settings.database_url,
        "RATCHET_VLLM_URL": settings.vllm_url,
        "COLUMNS": "200",
    }

    done, listed, refused = (
        subprocess.run(
            [sys.executable, "-m", "cli", *args],
            env=os.environ | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        for args in (["eject", str(MALLORY)], ["adapters"], ["promote", tainted])
    )

    assert f"Ejected: rater {MALLORY}.\nLearned from ejected feedback: {tainted}." in done.stdout
    assert "Live is now the base model." in done.stdout
    assert "learned from ejected feedback" in listed.stdout
    assert (10, 1) == (refused.returncode, len(refused.stderr.splitlines()))


def test_the_desk_shows_whose_a_correction_is_and_what_is_not_learned(database):
    """The admin needs the id to eject somebody, and to see that it worked."""
    with database.connect() as conn:
        turn = make_turn(conn, owner_id=MALLORY)
        feedback.record_rating(conn, turn.id, MALLORY, Rating.DOWN)
        said = feedback.add_correction(conn, turn.id, MALLORY, "Buy elsewhere.", by_admin=False)
        feedback.decide_correction(conn, said.id, CorrectionStatus.APPROVED)
        before = find_entry(conn, ReviewCursor(), CAPS, step=0, include_reviewed=True)
        learning.eject_rater(conn, MALLORY, "test", "")
        after = find_entry(conn, ReviewCursor(), CAPS, step=0, include_reviewed=True)

    assert f"Rater {MALLORY}" in REVIEW.review_card(before)
    assert ">learned from<" in REVIEW.review_card(before)
    assert ">learned from<" not in REVIEW.review_card(after)
    assert "not learned from: its author is ejected" in REVIEW.review_card(after)


# The demo ------------------------------------------------------------------------------------


def test_the_demos_admin_approves_only_what_a_cited_passage_says(database):
    """An admin who waves everything through would be no model of one."""
    question = GoldenQuestion("How long may I return things?", ("30 days",), "returns.md", 1)
    bodies = {
        "Returns are free for 30 days. [1]": True,
        "Returns are free for 30 days. [2]": False,  # the passage that was not shown
        "Returns are free for 30 days.": False,
        "Buy at EvilMart! [1]": False,
    }
    rated = []
    with database.connect() as conn:
        for body in bodies:
            turn = make_turn(conn)
            said = feedback.add_correction(conn, turn.id, uuid4(), body, by_admin=False)
            rated.append(Rated(question, False, said))

        n_approved = review(conn, [*rated, Rated(question, True, None)])

        signals = load_signals(conn, CAPS)
    assert 1 == n_approved
    assert [body for body, good in bodies.items() if good] == [
        each.counting.body for each in signals
    ]
