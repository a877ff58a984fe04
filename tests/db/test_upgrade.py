"""A database of the version before, with rows in it, is upgraded and read by this version."""

import shutil
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core import jobs, learning
from core.attempts import Outcome, list_attempts
from core.db import Database
from core.types import RunState
from migrations.apply import FOLDER, apply
from tests.worker import hold

BEFORE = 4  # migrations of the last version with two engines
OLD_JOBS = {
    # state: lease, attempt, finished, result, error
    "queued": (None, 0, False, None, ""),
    "running": ("1 hour", 2, False, None, ""),
    "done": (None, 1, True, {"added": 3}, ""),
    "failed": (None, 3, True, None, "the worker ended 3 times"),
}
OLD_RUNS = ("promoted", "rejected", "failed", "gating")


@pytest.fixture
def old(empty_dsn, tmp_path):
    """The DSN of a database as the version before left it, without rows."""
    for path in sorted(FOLDER.glob("0*.sql"))[:BEFORE]:
        shutil.copy(path, tmp_path)
    apply(empty_dsn, tmp_path)
    return empty_dsn


def insert_job(conn, state):
    """A job as the old engine stored it."""
    lease, attempt, is_over, result, error = OLD_JOBS[state]
    sql = """
        INSERT INTO jobs (kind, request, state, progress, result, error, attempt,
                          lease_expires_at, started_at, finished_at)
        VALUES ('ingest', '{"sources": ["/a"]}', %(state)s, '{"done": 1}', %(result)s, %(error)s,
                %(attempt)s, now() + %(lease)s::interval, now(),
                CASE WHEN %(is_over)s THEN now() END)
        RETURNING id
    """
    params = {"state": state, "lease": lease, "attempt": attempt, "is_over": is_over}
    params |= {"result": Jsonb(result) if result else None, "error": error}
    return conn.execute(sql, params).fetchone()[0]


def insert_run(conn, state):
    """A run with all that hangs on it, as the old engine stored it."""
    run_id, dataset_id = uuid4(), uuid4()
    conn.execute("INSERT INTO datasets VALUES (%s, '/d', '0', 9, 8, '{}')", [dataset_id])
    sql = """
        INSERT INTO training_runs (id, state, trigger, period, attempt, lease_token,
            lease_expires_at, progress, dataset_id, reasons, error, started_at, finished_at)
        VALUES (%(id)s, %(state)s, 'beat', %(state)s, 2, 5,
            CASE WHEN %(state)s = 'gating' THEN now() + interval '1 hour' END, '{"step": 7}',
            %(dataset)s, %(reasons)s, %(error)s, now(),
            CASE WHEN %(state)s <> 'gating' THEN now() END)
    """
    reasons = ["worse"] if state == "rejected" else []
    error = "disk full" if state == "failed" else ""
    params = {"id": run_id, "state": state, "dataset": dataset_id, "reasons": reasons}
    conn.execute(sql, params | {"error": error})
    outcomes = [(1, "queued", "vLLM away"), (2, None if state == "gating" else state, error)]
    for attempt, outcome, reason in outcomes:
        conn.execute(
            "INSERT INTO training_attempts (run_id, attempt, ended_at, outcome, reason)"
            " VALUES (%s, %s, CASE WHEN %s::text IS NOT NULL THEN now() END, %s, %s)",
            (run_id, attempt, outcome, outcome, reason),
        )
    conn.execute("INSERT INTO training_steps VALUES (%s, 1, 0.7, 0.0, 0.5)", [run_id])
    name = f"support-{state}"
    conn.execute(
        "INSERT INTO adapters (name, version, run_id, dataset_id, path, sha256, base_model, rank)"
        " VALUES (%s, nextval('adapter_version'), %s, %s, '/a', '0', 'base', 8)",
        (name, run_id, dataset_id),
    )
    conn.execute(
        "INSERT INTO gate_reports (run_id, adapter, passed, reasons, figures)"
        " VALUES (%s, %s, %s, %s, '{}')",
        (run_id, name, state == "promoted", reasons),
    )
    conn.execute(
        "INSERT INTO ejections (rater_id, actor, run_id) VALUES (%s, 'admin', %s)",
        (uuid4(), run_id),
    )
    return run_id


@pytest.fixture
def upgraded(old):
    """The ids of old jobs and runs by their state, and the database after the upgrade."""
    with psycopg.connect(old) as conn:
        job_ids = {state: insert_job(conn, state) for state in OLD_JOBS}
        run_ids = {state: insert_run(conn, state) for state in OLD_RUNS}
    apply(old)
    database = Database(old).open()
    with database.connect() as conn:
        yield conn, job_ids, run_ids
    database.close()


def test_old_jobs_are_read_by_the_new_engine(upgraded):
    """An upgrade loses no ingest, and what was at work begins again."""
    conn, job_ids, _ = upgraded
    found = {state: jobs.get_job(conn, job_id) for state, job_id in job_ids.items()}

    assert ["queued", "queued", "done", "failed"] == [job.state.value for job in found.values()]
    assert [True, True, False, False] == [job.is_open for job in found.values()]
    assert ({"added": 3}, "") == (found["done"].result, found["done"].error)
    assert "the worker ended 3 times" == found["failed"].error
    assert {"sources": ["/a"]} == found["queued"].request
    assert 2 == jobs.count_waiting(conn)["ingest"]
    assert [found["queued"].id, found["running"].id] == [hold_ingest(conn), hold_ingest(conn)]


def hold_ingest(conn):
    """Take the next ingest and end it; return its id."""
    job = hold(conn, "ingest")
    jobs.end_attempt(conn, job, Outcome.DONE, result={})
    return job.id


def test_old_runs_keep_their_story(upgraded):
    """Which adapter came of which run, and why another was rejected, must outlive an upgrade."""
    conn, _, run_ids = upgraded
    runs = {state: learning.get_run(conn, run_id) for state, run_id in run_ids.items()}

    states = [RunState.PROMOTED, RunState.REJECTED, RunState.FAILED, RunState.QUEUED]
    assert states == [run.state for run in runs.values()]
    assert [f"support-{state}" for state in OLD_RUNS] == [run.adapter_name for run in runs.values()]
    assert (["worse"], "disk full") == (runs["rejected"].reasons, runs["failed"].error)
    for state, run in runs.items():
        assert run.dataset_id is not None
        assert 1 == len(learning.run_steps(conn, run.id))
        assert (state == "promoted") == learning.gate_report_of(conn, run.id).passed
    assert {"support-gating"} == learning.adapters_on_trial(conn)
    assert 4 == conn.execute("SELECT count(run_id) FROM ejections").fetchone()[0]


def test_old_attempts_are_translated(upgraded):
    """What ended each try is what an operator asks first."""
    conn, _, run_ids = upgraded
    told = {
        state: [(each.outcome, each.reason) for each in list_attempts(conn, run_id)]
        for state, run_id in run_ids.items()
    }

    first = (Outcome.RETRIED, "vLLM away")
    assert [first, (Outcome.DONE, "")] == told["promoted"] == told["rejected"]
    assert [first, (Outcome.FAILED, "disk full")] == told["failed"]
    assert [first, (Outcome.LOST, "the product was upgraded meanwhile")] == told["gating"]


def test_an_old_run_goes_on_and_stays_the_only_one(upgraded):
    """A run that was at the gate is trained anew; its fencing goes on where it was."""
    conn, _, run_ids = upgraded

    assert learning.request_run(conn, "button") is None
    job = hold(conn)
    assert (run_ids["gating"], 3, 6) == (job.id, job.attempt, job.lease_token)
    jobs.end_attempt(conn, job, Outcome.FAILED, reason="no")
    assert learning.request_run(conn, "beat", "gating") is None
    assert learning.request_run(conn, "beat", "another night") is not None
