"""Input and mishaps that nobody foresaw: a run says what ended it, odd lines are named."""

import json
import os
import signal
import threading
from dataclasses import replace

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from bot.desk.learning import CARDS
from core import feedback, learning
from core.attempts import Outcome, list_attempts
from core.errors import InvalidInput
from core.jobs import end_attempt
from core.settings import Settings
from core.types import RunState
from retrieval.queries import read_queries
from tests.builders import ADMIN, make_turn
from tests.worker import claim, retrain
from training import child, dataset
from training.examples import load_examples
from training.gate.rules import Answered, Evidence, HeldoutScore, decide
from training.import_feedback import import_feedback
from training.objectives import DPO
from training.signals import Caps

SEPARATORS = "\u2028\u2029\x85"
QUICK = replace(DPO, recipe=replace(DPO.recipe, min_steps=1, n_epochs=1))


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


def request_with_corrections(database, n=20):
    """Queue a run that has enough to learn from, and return its id."""
    with database.connect() as conn:
        for number in range(n):
            turn = make_turn(conn, question=f"What is {number}?", answer=f"{number}. [1]")
            body = f"Hello! It is {number}. [1]"
            feedback.add_correction(conn, turn.id, ADMIN, body, by_admin=True)
        return learning.request_run(conn, "command").id


def ended_run(database, run_id):
    """The run with its attempts."""
    with database.connect() as conn:
        return learning.get_run(conn, run_id), list_attempts(conn, run_id)


def test_line_separators_are_imported_frozen_and_trained_on(database, settings, tmp_path):
    """Text copied from elsewhere holds U+2028; `str.splitlines` cut the JSON in two there."""
    path = tmp_path / "feedback.jsonl"
    rows = [
        {
            "question": f"How long may I keep tool {n}?",
            "answer": f"As long as you like, {n}.",
            "rating": "down",
            "correction": f"You may keep it{SEPARATORS}for {n + 2} days. [1]",
            "messages": [{"role": "user", "content": f"Tool{SEPARATORS}{n}: how long?"}],
        }
        for n in range(24)
    ]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(lines, encoding="utf-8")

    report = import_feedback(database, settings, path, approved=True)
    with database.connect() as conn:
        examples = load_examples(conn, Caps.of(settings))
    frozen = dataset.freeze(examples, examples[0].id, settings.datasets, settings.model)
    config = child.write_config(settings, QUICK, frozen.path, tmp_path / "run")
    with child.training(config) as process:
        steps = list(child.events(process))

    assert (24, []) == (report.n_imported, report.problems)
    assert (16, 8) == (frozen.n_train, frozen.n_heldout)
    assert all(
        SEPARATORS in row["chosen"][0]["content"] for row in dataset.read_heldout(frozen.path)
    )
    assert QUICK.recipe.n_steps(16) == len(steps)


def test_the_gate_report_names_the_golden_lines_that_were_not_asked():
    """The admin reads it on the desk."""
    answers = [Answered(n_words=9, is_empty=False, loops=False)] * 20
    evidence = Evidence(
        heldout=[HeldoutScore(0.0, 1.0)] * 20,
        live_answers=answers,
        candidate_answers=answers,
        wanted_words=9,
        n_golden=0,
        golden_problems=["line 3 has no text as `question`"],
    )

    report = decide(evidence)

    assert report.passed
    assert "line 3 has no text as `question`" in CARDS.gate_card(report)


def test_an_error_nobody_foresaw_ends_the_run_at_once_with_its_reason(database, settings, caplog):
    """Trained three times in vain, with an empty row: that told nobody anything."""
    settings.home.mkdir()
    settings.datasets.write_text("a file where a folder should be")
    run_id = request_with_corrections(database)

    ended = retrain(database, settings)

    run, [attempt] = ended_run(database, run_id)
    assert (RunState.FAILED, RunState.FAILED, 1) == (ended, run.state, run.attempt)
    assert "unforeseen FileExistsError" in run.error
    assert ("failed", run.error) == (attempt.outcome, attempt.reason)
    assert "Traceback" in caplog.text


def test_a_run_that_outlasts_the_workers_limit_says_so(database, settings):
    """The soft limit is an exception out of the blue, wherever the run is."""
    run_id = request_with_corrections(database)

    def limit(*_):
        raise SoftTimeLimitExceeded

    def strike():
        steps = []
        while not steps:
            with database.connect() as conn:
                steps = learning.run_steps(conn, run_id)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, limit)
    striker = threading.Thread(target=strike)
    striker.start()
    try:
        ended = retrain(database, settings)
    finally:
        striker.join()
        signal.signal(signal.SIGUSR1, before)

    run, [attempt] = ended_run(database, run_id)
    assert (RunState.FAILED, "failed") == (ended, attempt.outcome)
    assert "longer than the worker allows" in run.error


def test_the_desk_shows_every_attempt_when_there_was_more_than_one(database, settings):
    """The last reason alone hides what happened before."""
    with database.connect() as conn:
        run_id = learning.request_run(conn, "command").id
    job = claim(database, settings, "retrain")
    with database.connect() as conn:
        end_attempt(conn, job, Outcome.RETRIED, reason="vLLM <away>")
    claim(database, settings, "retrain")
    second, attempts = ended_run(database, run_id)

    shown = CARDS.run_card(second, job, None, attempts)

    assert "vLLM &lt;away&gt;" in shown
    assert "Broke off; tried again" in shown
    assert "Broke off" not in CARDS.run_card(second, job, None, attempts[1:])


def test_judged_questions_are_split_at_line_feeds_only(tmp_path):
    """The same separators cut a file of questions."""
    path = tmp_path / "queries.jsonl"
    good = f'{{"question": "How{SEPARATORS}long?", "article": "a.md"}}'
    path.write_text(f"{good}\n\n{good}\n", encoding="utf-8")

    assert [f"How{SEPARATORS}long?"] * 2 == [query.question for query in read_queries(path)]
    path.write_text(f"{good}\n\n{{\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 3 is not JSON"):
        read_queries(path)
