"""A job that a page asks for is done once, survives its worker, and tells what became of it."""

import pytest

from core.errors import DatabaseUnavailable, LeaseLost, NotAllowed
from retrieval import jobs
from retrieval.ingest import ingest


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


def newest(database):
    with database.connect() as conn:
        return jobs.list_jobs(conn)[0]


def let_leases_run_out(database):
    with database.connect() as conn:
        conn.execute("UPDATE jobs SET lease_expires_at = now() WHERE state = 'running'")


def claim(database, lease_s=30, max_attempts=3):
    with database.connect() as conn:
        return jobs.claim_job(conn, lease_s, max_attempts)


def test_an_ingest_runs_as_a_job_and_tells_what_came_of_it(database, settings):
    """An admin who pressed a button sees that it moved and which file to mend."""
    ask_for(database, settings.company / "articles", audience="staff")

    jobs.work_off(database, settings)

    done = newest(database)
    assert ("done", "") == (done.state, done.error)
    assert (2, 2) == (done.progress["done"], done.progress["total"])
    assert (1, 1) == (done.result["added"], done.result["n_chunks"])
    assert "isn't a PDF" in done.result["problems"][0]["reason"]
    with database.connect() as conn:
        assert [("staff",)] == conn.execute("SELECT audience FROM documents").fetchall()


def test_a_job_is_done_once(database, settings):
    """The bell rings every few seconds; that must not ingest every few seconds."""
    ask_for(database, settings.company / "articles")

    first, second = jobs.work_off(database, settings), jobs.work_off(database, settings)

    assert first is not None
    assert second is None


def test_one_job_runs_at_a_time(database, settings):
    """Long jobs must leave a hand free for what keeps the model server in order."""
    ask_for(database, settings.company / "articles")
    ask_for(database, settings.home / "uploads")

    assert claim(database) is not None
    assert claim(database) is None


def test_the_oldest_job_is_first(database, settings):
    """Who asked first is served first."""
    first = ask_for(database, settings.company / "articles")
    ask_for(database, settings.home / "uploads")

    assert first.id == claim(database).id


def test_a_job_whose_worker_died_is_taken_by_another(database, settings):
    """A worker that was killed leaves a running row behind; nobody is to wake an admin for it."""
    ask_for(database, settings.home / "uploads")
    claim(database)
    let_leases_run_out(database)

    jobs.work_off(database, settings)

    assert ("done", 2) == (newest(database).state, newest(database).attempt)


def test_a_job_that_kills_every_worker_fails_in_the_end(database, settings):
    """Else one bad file would take the workers down for ever."""
    ask_for(database, settings.home / "uploads")
    for _ in range(3):
        claim(database, max_attempts=3)
        let_leases_run_out(database)

    assert claim(database, max_attempts=3) is None
    assert "failed" == newest(database).state
    assert "ended 3 times" in newest(database).error


def test_who_lost_the_job_may_not_report(database, settings):
    """A worker that slept through its lease must not overwrite what the next one says."""
    ask_for(database, settings.home / "uploads")
    first = claim(database)
    let_leases_run_out(database)
    claim(database)

    with database.connect() as conn:
        with pytest.raises(LeaseLost):
            jobs.report_progress(conn, first, 30, {"done": 1, "total": 2})
        with pytest.raises(LeaseLost):
            jobs.finish_job(conn, first, {})
        with pytest.raises(LeaseLost):
            jobs.fail_job(conn, first, "no")


def test_progress_keeps_the_lease(database, settings):
    """A long ingest is not taken away from a worker that is alive."""
    ask_for(database, settings.home / "uploads")
    job = claim(database, lease_s=0)
    with database.connect() as conn:
        jobs.report_progress(conn, job, 30, {"done": 1, "total": 9})

    assert claim(database) is None
    assert {"done": 1, "total": 9} == newest(database).progress


def test_a_database_that_goes_away_leaves_the_job_to_the_next(database, settings, monkeypatch):
    """The row tells the truth: nobody has finished it."""
    ask_for(database, settings.home / "uploads")

    def gone(*_args, **_kwargs):
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr("retrieval.ingest.ingest", gone)
    jobs.work_off(database, settings)
    monkeypatch.undo()
    assert "running" == newest(database).state
    let_leases_run_out(database)

    jobs.work_off(database, settings)

    assert "done" == newest(database).state


@pytest.mark.parametrize("source", ["/etc", "{company}/articles/../secret", "file:///etc/passwd"])
def test_a_job_reads_only_articles_and_uploads(database, settings, source):
    """An admin of the web page is not yet an admin of the machine."""
    ask_for(database, source.format(company=settings.company))

    jobs.work_off(database, settings)

    failed = newest(database)
    assert "failed" == failed.state
    assert "outside of the company's articles" in failed.error


def test_a_link_out_of_the_uploads_is_refused(settings):
    """A link is a path by another name."""
    (settings.home / "uploads" / "etc").symlink_to("/etc")

    with pytest.raises(NotAllowed):
        jobs.check_sources(settings, [str(settings.home / "uploads" / "etc")])


def test_a_job_reads_no_site_of_a_private_network(database, settings):
    """The server reaches machines that the admin's browser must not reach through it."""
    ask_for(database, "http://127.0.0.1:9/")

    jobs.work_off(database, settings)

    assert "private network" in newest(database).error


def test_what_nobody_foresaw_ends_the_job_with_a_line(database, settings, monkeypatch):
    """A job must not stay "running" because of a fault in the code."""
    ask_for(database, settings.home / "uploads")
    monkeypatch.setattr("retrieval.ingest.ingest", lambda *_args, **_kwargs: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        jobs.work_off(database, settings)

    assert "ZeroDivisionError" in newest(database).error


def test_another_audience_reaches_articles_that_did_not_change(database, embedder, settings):
    """An article that is for staff from now on must be hidden from customers now."""
    folder = settings.home / "uploads"
    ingest(database, embedder, [folder])

    assert 1 == ingest(database, embedder, [folder], audience="staff").changed
