"""A retraining is broken off in each way there is: what was finished is not done again."""

import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest

from core import feedback, jobs, learning
from core.attempts import Outcome, list_attempts
from core.jobs import JobState
from core.settings import Settings
from core.types import RunState
from tests.builders import ADMIN, make_turn
from tests.worker import newest, retrain
from training import child, deploy, pipeline


@pytest.fixture
def settings(tmp_path, dsn, monkeypatch):
    """Settings with no model server behind them, for which nobody waits; a training of one step."""
    monkeypatch.setattr(deploy, "GIVE_UP_AFTER_S", 0.1)
    recipe = replace(pipeline.DPO.recipe, min_steps=1, n_epochs=1)
    monkeypatch.setattr(pipeline, "DPO", replace(pipeline.DPO, recipe=recipe))
    return Settings(
        home=tmp_path / "home",
        database_url=dsn,
        vllm_url="http://127.0.0.1:9",
        company=tmp_path / "company",
        _env_file=None,
    )


@pytest.fixture
def run_id(database):
    """A queued run with enough to learn from."""
    with database.connect() as conn:
        for number in range(20):
            turn = make_turn(conn, question=f"What is {number}?", answer=f"{number}. [1]")
            body = f"Hello! It is {number}. [1]"
            feedback.add_correction(conn, turn.id, ADMIN, body, by_admin=True)
        return learning.request_run(conn, "command").id


@pytest.fixture
def trainers(monkeypatch):
    """The training processes that were started."""
    started = []
    original = child.subprocess.Popen
    monkeypatch.setattr(
        child.subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
    )
    return started


def n_datasets(conn):
    """How often the examples were frozen."""
    return conn.execute("SELECT count(*) FROM datasets").fetchone()[0]


def test_a_model_server_away_at_the_gate_repeats_no_training(database, settings, run_id, trainers):
    """Hours of training must outlive a restart of vLLM."""
    states = [retrain(database, settings) for _ in range(settings.max_attempts)]

    assert [RunState.QUEUED, RunState.QUEUED, RunState.FAILED] == states
    assert 1 == len(trainers)
    with database.connect() as conn:
        run, attempts = learning.get_run(conn, run_id), list_attempts(conn, run_id)
        assert (1, 1) == (n_datasets(conn), len(learning.list_adapters(conn)))
        assert learning.run_steps(conn, run_id)
    outcomes = [Outcome.RETRIED, Outcome.RETRIED, Outcome.FAILED]
    assert outcomes == [each.outcome for each in attempts]
    assert "vLLM did not answer" in run.error
    assert {RunState.FREEZING, RunState.FITTING} == newest(database).phases.keys()


def test_a_trainer_killed_in_the_middle_repeats_the_training_only(
    database, settings, run_id, trainers
):
    """The examples are frozen once; another attempt must not learn from something else."""
    begun = threading.Thread(target=lambda: kill_the_first(trainers))
    begun.start()
    states = [retrain(database, settings) for _ in range(2)]
    begun.join()

    assert [RunState.QUEUED] * 2 == states
    assert 2 == len(trainers)
    with database.connect() as conn:
        first, second = list_attempts(conn, run_id)
        assert 1 == n_datasets(conn)
    assert "ended with -9" in first.reason
    assert "vLLM did not answer" in second.reason


def kill_the_first(trainers):
    """Kill -9 the first trainer once it runs."""
    while not trainers:
        pass
    os.kill(trainers[0].pid, signal.SIGKILL)


def test_a_cancelled_training_ends_within_two_seconds(database, settings, run_id, trainers):
    """Its child says nothing for minutes; it is killed, and nothing of it is left running."""
    worker = threading.Thread(target=retrain, args=(database, settings))
    worker.start()
    while not trainers:
        assert newest(database).is_open
    with database.connect() as conn:
        jobs.cancel_job(conn, run_id, "admin")
    begun_s = time.monotonic()
    while newest(database).is_open:
        assert time.monotonic() < begun_s + 30
    seconds = time.monotonic() - begun_s
    worker.join()

    assert seconds < 2
    assert not psutil.pid_exists(trainers[0].pid)
    with database.connect() as conn:
        assert RunState.CANCELLED is learning.get_run(conn, run_id).state
        assert "cancelled by admin" == newest(database).error
        assert [] == learning.list_adapters(conn)
        assert learning.request_run(conn, "button") is not None


def test_a_run_judged_before_its_worker_was_killed_is_not_carried_out_again(
    database, settings, run_id
):
    """The row that promoted it is committed; the next attempt only ends the job."""
    with database.connect() as conn:
        learning.judge_run(conn, run_id, RunState.PROMOTED)

    assert RunState.PROMOTED is retrain(database, settings)
    assert (JobState.DONE, {"outcome": "promoted"}) == (
        newest(database).state,
        newest(database).result,
    )
