"""A job is done once, survives its worker, heeds a cancel, and tells what became of it."""

import json
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from core import jobs
from core.attempts import VANISHED, Outcome, list_attempts
from core.audit import Action, list_entries
from core.errors import DatabaseUnavailable, InvalidInput, LeaseLost, ModelUnavailable, NotAllowed
from core.jobs import JobState
from core.settings import ROOT
from core.work import Kind
from retrieval.ingest import check_sources, ingest
from tests.website import Served
from tests.worker import carry_out, claim, let_leases_run_out, newest
from workers.carry_out import carry_out_one
from workers.kinds import JOBS


@pytest.fixture
def settings(settings, tmp_path):
    """Settings of a company with two articles and one upload."""
    articles = tmp_path / "company" / "articles"
    articles.mkdir(parents=True)
    (articles / "returns.md").write_text("# Returns\n\nReturns are free for 30 days.\n")
    (articles / "broken.pdf").write_bytes(b"not a PDF")
    uploads = settings.home / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "gifts.md").write_text("# Gifts\n\nGift cards never expire.\n")
    return settings.model_copy(update={"company": tmp_path / "company"})


def ask_for(database, *sources, **more):
    with database.connect() as conn:
        return jobs.request_job(conn, "ingest", {"sources": [str(s) for s in sources], **more})


def ask(database, kind="test", key=None):
    """Queue a job of a kind of our own."""
    with database.connect() as conn:
        return jobs.request_once(conn, kind, {}, key)


def attempts(database, job_id):
    """How each attempt at a job ended, and why."""
    with database.connect() as conn:
        return [(each.outcome, each.reason) for each in list_attempts(conn, job_id)]


def kind_of(handler, max_attempts=3, at_once=1):
    """A kind whose jobs are carried out by a function of the held job."""
    return Kind("test", lambda held, _settings: handler(held), JOBS, at_once, max_attempts)


def failing(exc):
    """A handler that raises."""

    def handler(_held):
        raise exc

    return handler


def seconds_to_cancel(database, job):
    """Ask for the end of a job and return how long it was open after that."""
    with database.connect() as conn:
        jobs.cancel_job(conn, job.id, "admin")
    begun_s = time.monotonic()
    while newest(database).is_open:
        assert time.monotonic() < begun_s + 30
    return time.monotonic() - begun_s


def test_an_ingest_runs_as_a_job_and_tells_what_came_of_it(database, settings):
    """An admin who pressed a button sees that it moved and which file to mend."""
    ask_for(database, settings.company / "articles", audience="staff")

    done = carry_out(database, settings)

    assert (JobState.DONE, "") == (done.state, done.error)
    assert (2, 2) == (done.progress["done"], done.progress["total"])
    assert (1, 1) == (done.result["added"], done.result["n_chunks"])
    assert "isn't a PDF" in done.result["problems"][0]["reason"]
    assert [(Outcome.DONE, "")] == attempts(database, done.id)
    with database.connect() as conn:
        assert [("staff",)] == conn.execute("SELECT audience FROM documents").fetchall()


def test_a_job_is_done_once(database, settings):
    """A message comes every few seconds; that must not ingest every few seconds."""
    ask_for(database, settings.company / "articles")

    first, second = carry_out(database, settings), carry_out(database, settings)

    assert first is not None
    assert second is None


def test_as_many_jobs_run_at_once_as_their_kind_allows(database, settings):
    """Long jobs must leave a process free for what keeps the model server in order."""
    for _ in range(3):
        ask_for(database, settings.company / "articles")

    claimed = [claim(database, settings) for _ in range(3)]

    assert [True, True, False] == [job is not None for job in claimed]


def test_a_crawl_of_hours_blocks_no_job_of_another_kind(database, settings):
    """An evaluation waits for no website."""
    for kind in ("ingest", "ingest", "evaluate", "retrain"):
        ask(database, kind)

    claimed = [claim(database, settings, kind) for kind in ("ingest", "ingest", "evaluate")]

    assert all(claimed)
    assert claim(database, settings, "retrain") is not None


def test_the_oldest_job_is_first(database, settings):
    """Who asked first is served first."""
    first = ask_for(database, settings.company / "articles")
    ask_for(database, settings.home / "uploads")

    assert first.id == claim(database, settings).id


def test_one_open_job_holds_a_key(database, settings):
    """However often a button is pressed: the database decides, not who came first to look."""
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(ask(database, "evaluate", "golden")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [first] = [job for job in results if job is not None]
    with database.connect() as conn:
        jobs.cancel_job(conn, first.id, "admin")

    assert ask(database, "evaluate", "golden") is not None
    assert ask(database, "ingest", "golden") is not None


def test_a_job_whose_worker_died_is_taken_by_another(database, settings):
    """A worker that was killed leaves a running row behind; nobody is to wake an admin for it."""
    ask_for(database, settings.home / "uploads")
    claim(database, settings)
    let_leases_run_out(database)

    done = carry_out(database, settings)

    assert (JobState.DONE, 2) == (done.state, done.attempt)
    expected = [(Outcome.LOST, VANISHED), (Outcome.DONE, "")]
    assert expected == attempts(database, done.id)


def test_a_job_that_kills_every_worker_fails_in_the_end(database, settings):
    """Else one bad file would take the workers down for ever."""
    ask_for(database, settings.home / "uploads")
    for _ in range(3):
        claim(database, settings)
        let_leases_run_out(database)

    assert claim(database, settings) is None
    failed = newest(database)
    assert JobState.FAILED == failed.state
    assert "ended 3 times" in failed.error
    assert [Outcome.LOST] * 3 == [outcome for outcome, _ in attempts(database, failed.id)]


def test_who_lost_the_job_may_not_write(database, settings):
    """A worker that slept through its lease must not overwrite what the next one says."""
    ask_for(database, settings.home / "uploads")
    first = claim(database, settings)
    let_leases_run_out(database)
    second = claim(database, settings)

    with database.connect() as conn:
        for write in (
            lambda: jobs.report_progress(conn, first, 30, {"done": 1, "total": 2}),
            lambda: jobs.finish_phase(conn, first, "half", {}),
            lambda: jobs.end_attempt(conn, first, Outcome.DONE, result={}),
            lambda: jobs.end_attempt(conn, first, Outcome.FAILED, reason="no"),
        ):
            with pytest.raises(LeaseLost, match="no longer held under token 1"):
                write()
        jobs.end_attempt(conn, second, Outcome.DONE, result={})
        with pytest.raises(LeaseLost):
            jobs.report_progress(conn, second, 30)


def test_progress_keeps_the_lease(database, settings):
    """A long ingest is not taken away from a worker that is alive."""
    ask_for(database, settings.home / "uploads")
    job = claim(database, settings, lease_s=0)
    with database.connect() as conn:
        jobs.report_progress(conn, job, 30, {"done": 1, "total": 9})

    assert claim(database, settings) is None
    assert {"done": 1, "total": 9} == newest(database).progress


def test_a_silent_handler_keeps_its_lease(database, settings):
    """A file that takes a minute says nothing meanwhile."""
    ask(database)
    settings = settings.model_copy(update={"lease_s": 1})
    lease_ends = []

    def wait_for_renewal(held):
        while len(lease_ends) < 2:
            with held.db.connect() as conn:
                now = jobs.get_job(conn, held.job.id).lease_expires_at
            lease_ends.extend([now] if now not in lease_ends else [])
        return {}

    carry_out_one(database, settings, kind_of(wait_for_renewal))

    assert JobState.DONE == newest(database).state


@pytest.mark.parametrize("exc", [DatabaseUnavailable("gone"), ModelUnavailable("restarting")])
def test_what_passes_is_tried_again_and_the_last_reason_stays(database, settings, exc):
    """A restart of a service costs an attempt; one that never comes back is told in the end."""
    job = ask(database)

    states = []
    for _ in range(2):
        carry_out_one(database, settings, kind_of(failing(exc), max_attempts=2))
        states.append(newest(database).state)

    assert [JobState.QUEUED, JobState.FAILED] == states
    assert str(exc) == newest(database).error
    expected = [(Outcome.RETRIED, str(exc)), (Outcome.FAILED, str(exc))]
    assert expected == attempts(database, job.id)


def test_what_nobody_foresaw_ends_the_job_at_once_and_is_logged(database, settings, caplog):
    """A KeyError tried three times tells nobody anything."""
    job = ask(database)

    with caplog.at_level(logging.INFO):
        carry_out_one(database, settings, kind_of(failing(KeyError("colour\0"))))

    failed = newest(database)
    assert JobState.FAILED == failed.state
    assert "unforeseen KeyError" in failed.error
    assert [(Outcome.FAILED, failed.error)] == attempts(database, job.id)
    assert "Traceback" in caplog.text
    assert f"test {job.id}, attempt 1: failed. unforeseen KeyError" in caplog.text


def test_every_end_of_an_attempt_is_logged(database, settings, caplog):
    """Who reads only the log must find what the rows say."""
    job = ask(database)

    with caplog.at_level(logging.INFO):
        carry_out_one(database, settings, kind_of(failing(ModelUnavailable("away"))))
        claim_of_ours = kind_of(lambda _held: {})
        with database.connect() as conn:
            claim_of_ours.claim(conn, -1)
        carry_out_one(database, settings, claim_of_ours)

    told = [record.getMessage() for record in caplog.records if record.name == "core.attempts"]
    assert [
        f"test {job.id}, attempt 1: retried. away",
        f"test {job.id}, attempt 2: lost. {VANISHED}",
        f"test {job.id}, attempt 3: done. ",
    ] == told


def test_a_retry_goes_on_from_the_last_finished_phase(database, settings):
    """What took an hour and was finished is not done again."""
    ask(database)
    done = []

    def handler(held):
        for phase in ("first", "second"):
            if held.left(phase) is None:
                held.enter(phase)
                done.append(phase)
                if len(done) == 2:
                    raise ModelUnavailable("away")
                with held.db.connect() as conn:
                    held.leave(conn, phase, n=len(done))
        return {"first": held.left("first"), "second": len(done)}

    for _ in range(2):
        carry_out_one(database, settings, kind_of(handler))

    assert ["first", "second", "second"] == done
    assert {"first": {"n": 1}, "second": 3} == newest(database).result


# Cancelling ----------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once_and_the_log_says_by_whom(database, settings):
    """The wrong address was typed; nobody has to wait for it to be read."""
    job = ask_for(database, settings.home / "uploads")
    with database.connect() as conn:
        cancelled = jobs.cancel_job(conn, job.id, "admin")
        [entry] = list_entries(conn)

    assert (JobState.CANCELLED, "admin") == (cancelled.state, cancelled.cancel_requested_by)
    assert ("admin", Action.JOB_CANCELLED, str(job.id)) == (
        entry.actor, entry.action, entry.subject
    )  # fmt: skip
    assert claim(database, settings) is None


def test_a_job_that_is_over_is_not_cancelled(database, settings):
    """What is done is done; the page says so."""
    job = ask_for(database, settings.home / "uploads")
    carry_out(database, settings)

    with database.connect() as conn, pytest.raises(InvalidInput, match="is over: done"):
        jobs.cancel_job(conn, job.id, "admin")


def test_a_running_ingest_of_a_slow_site_ends_within_two_seconds(database, settings, monkeypatch):
    """Half a minute for each of a thousand pages; the admin has seen that it is the wrong site."""
    monkeypatch.setattr("retrieval.fetch.is_public", lambda _address: True)
    site = Served()
    site.pages["/"] = (200, {"Content-Type": "text/html"}, until(site.released))
    job = ask_for(database, site.url)
    worker = threading.Thread(target=carry_out, args=(database, settings))
    worker.start()
    try:
        while "/" not in site.asked:
            assert newest(database).is_open, newest(database).error
        seconds = seconds_to_cancel(database, job)
    finally:
        worker.join()
        site.close()

    assert JobState.CANCELLED == newest(database).state
    assert [(Outcome.CANCELLED, "cancelled by admin")] == attempts(database, job.id)
    assert seconds < 2


def until(released):
    """A page that begins and does not go on."""
    yield b"<html>"
    released.wait()


def test_a_cancelled_job_that_broke_off_is_not_tried_again(database, settings):
    """The server went away at the same moment; nobody wants the job any more."""
    ask(database)

    def handler(held):
        with held.db.connect() as conn:
            jobs.cancel_job(conn, held.job.id, "admin")
        raise ModelUnavailable("away")

    carry_out_one(database, settings, kind_of(handler))

    assert JobState.CANCELLED == newest(database).state


def test_a_cancelled_job_whose_worker_vanished_is_not_taken_again(database, settings):
    """Nobody is left who could heed the wish; the row must end all the same."""
    job = ask_for(database, settings.home / "uploads")
    claim(database, settings)
    with database.connect() as conn:
        jobs.cancel_job(conn, job.id, "admin")
    let_leases_run_out(database)

    assert claim(database, settings) is None
    assert JobState.CANCELLED == newest(database).state


def test_what_a_cancelled_job_would_write_is_refused(database, settings):
    """Between the wish and the end nothing more may become visible."""
    ask(database)
    written = []

    def handler(held):
        with held.db.connect() as conn:
            jobs.cancel_job(conn, held.job.id, "admin")
        with held.db.connect() as conn:
            held.leave(conn, "half")
            written.append("half")
        return {}

    carry_out_one(database, settings, kind_of(handler))

    assert [] == written
    assert JobState.CANCELLED == newest(database).state
    assert {} == newest(database).phases


def test_a_job_is_listed_and_cancelled_from_a_shell(dsn, database, settings):
    """The desk may be what does not answer."""
    job = ask_for(database, settings.home / "uploads")
    env = os.environ | {"RATCHET_DATABASE_URL": dsn, "RATCHET_HOME": str(settings.home)}

    def ratchet(*args):
        command = [sys.executable, "-m", "cli", *args]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)

    listed = json.loads(ratchet("jobs", "--json").stdout)
    said = ratchet("cancel", str(job.id))
    again = ratchet("cancel", str(job.id))

    assert [(str(job.id), "queued")] == [(each["id"], each["state"]) for each in listed]
    assert f"ingest {job.id}: cancelled." == said.stdout.strip()
    assert (InvalidInput.exit_code, True) == (again.returncode, "is over" in again.stderr)


# Ingests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["/etc", "{company}/articles/../secret", "file:///etc/passwd"])
def test_a_job_reads_only_articles_and_uploads(database, settings, source):
    """An admin of the web page is not yet an admin of the machine."""
    ask_for(database, source.format(company=settings.company))

    failed = carry_out(database, settings)

    assert JobState.FAILED == failed.state
    assert "outside of the company's articles" in failed.error


def test_a_link_out_of_the_uploads_is_refused(settings):
    """A link is a path by another name."""
    (settings.home / "uploads" / "etc").symlink_to("/etc")

    with pytest.raises(NotAllowed):
        check_sources(settings, [str(settings.home / "uploads" / "etc")])


def test_a_job_reads_no_site_of_a_private_network(database, settings):
    """The server reaches machines that the admin's browser must not reach through it."""
    ask_for(database, "http://127.0.0.1:9/")

    assert "private network" in carry_out(database, settings).error


def test_another_audience_reaches_articles_that_did_not_change(database, embedder, settings):
    """An article that is for staff from now on must be hidden from customers now."""
    folder = settings.home / "uploads"
    ingest(database, embedder, [folder])

    assert 1 == ingest(database, embedder, [folder], audience="staff").changed
