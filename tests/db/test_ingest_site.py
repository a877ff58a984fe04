"""A website is kept in step with the database, page by page, and bad pages harm no others."""

import pytest

from core.errors import InvalidInput
from retrieval.ingest import ingest
from retrieval.site_requests import CrawlLimits
from tests.builders import stored_articles
from tests.website import Served


@pytest.fixture
def served():
    """A help centre of three pages without a sitemap."""
    site = Served()
    site.page("/", "Welcome to our help pages.", "/returns", "/delivery")
    site.page("/returns", "Returns are free for 30 days.")
    site.page("/delivery", "Parcels take 3 days.")
    yield site
    site.close()


def uris(database, served):
    with database.connect() as conn:
        return [uri.removeprefix(served.url) for _, uri in stored_articles(conn)]


def test_a_site_is_ingested_whole(database, embedder, served):
    """One command makes the bot know the help centre; citations lead to its pages."""
    report = ingest(database, embedder, [served.url])

    assert (3, []) == (report.added, report.problems)
    assert ["/", "/delivery", "/returns"] == uris(database, served)


def test_an_unchanged_page_is_left_alone_though_its_frame_changes(database, embedder, served):
    """Each answer holds a new token; that is no new article."""
    ingest(database, embedder, [served.url])
    status, headers, body = served.pages["/returns"]
    served.pages["/returns"] = (status, headers, body.replace(b"<body>", b"<body data-t=9>"))
    served.page("/delivery", "Parcels take 2 days.")

    report = ingest(database, embedder, [served.url])

    assert (0, 1, 2) == (report.added, report.changed, report.unchanged)


def test_a_page_that_is_gone_is_removed(database, embedder, served):
    """A withdrawn article must not be answered from, be it gone or linked no more."""
    ingest(database, embedder, [served.url])
    del served.pages["/returns"]
    served.page("/", "Welcome to our help pages.", "/returns")

    report = ingest(database, embedder, [served.url])

    assert 2 == report.removed
    assert ["/"] == uris(database, served)


def test_a_page_that_fails_for_now_stays(database, embedder, served):
    """A restart of the help centre must not empty the bot's memory."""
    ingest(database, embedder, [served.url])
    served.raw("/returns", "", status=502)
    served.page("/", "Welcome to our help pages.", "/returns")

    report = ingest(database, embedder, [served.url])

    assert (0, 1) == (report.removed, len(report.problems))
    assert ["/", "/delivery", "/returns"] == uris(database, served)


def test_a_crawl_that_was_cut_short_removes_nothing(database, embedder, served, monkeypatch):
    """What was not looked at is not gone."""
    ingest(database, embedder, [served.url])
    monkeypatch.setattr("retrieval.site.LIMITS", CrawlLimits(n_pages=2))

    report = ingest(database, embedder, [served.url])

    assert 0 == report.removed
    assert "stopped after 2 pages" in report.problems[0].reason


def test_a_site_that_is_away_changes_nothing(database, embedder, served):
    """The command says so and the articles stay."""
    ingest(database, embedder, [served.url])
    served.raw("/robots.txt", "", status=500)

    with pytest.raises(InvalidInput, match="try again later"):
        ingest(database, embedder, [served.url])

    assert 3 == len(uris(database, served))


def test_another_site_and_the_files_are_left_alone(database, embedder, served, tmp_path):
    """Only a site's own pages are compared with it."""
    (tmp_path / "care.md").write_text("# Care\n\nDry the pan.\n")
    ingest(database, embedder, [served.url, tmp_path / "care.md"])
    served.page("/", "Welcome to our help pages.")

    report = ingest(database, embedder, [f"{served.url}/returns"])

    assert 0 == report.removed
    assert 4 == len(uris(database, served))
