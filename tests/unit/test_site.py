"""A site is read politely, whole and bounded; nothing outside of it is."""

import gzip
from functools import partial

import httpx
import pytest

from core.errors import InvalidInput
from retrieval.fetch import Fetcher
from retrieval.links import canonical
from retrieval.load import Problem
from retrieval.pages import as_utf8, read_sitemap
from retrieval.parser import Parser
from retrieval.robots import read_robots
from retrieval.site import Page, Site
from retrieval.site_requests import CrawlLimits
from tests.website import HTML, Served


@pytest.fixture
def served():
    """A website of one's own, gone after the test."""
    site = Served()
    yield site
    site.close()


@pytest.fixture(scope="module")
def parser():
    """The process that parses what servers send."""
    with Parser() as process:
        yield process


@pytest.fixture
def crawl(parser):
    """Crawl an address: the site afterwards, the paths of its pages, and its problems."""
    return partial(_crawl, parser)


def _crawl(parser, url, **given):
    site = Site(url, parser, **given)
    found = list(site.pages())
    paths = [httpx.URL(page.uri).raw_path.decode() for page in found if isinstance(page, Page)]
    return site, paths, [each.reason for each in found if isinstance(each, Problem)]


def test_a_sitemap_says_what_there_is(served, crawl):
    """Who wrote a list of pages knows best which ones matter."""
    served.sitemap("/sitemap.xml", "/a", "/b")
    served.page("/a", "First.", "/not-listed")
    served.page("/b", "Second.")
    served.page("/not-listed")

    site, paths, problems = crawl(served.url)

    assert (["/a", "/b"], [], True) == (paths, problems, site.complete)


def test_an_index_of_packed_sitemaps_is_followed(served, crawl):
    """Large sites split their list and pack it."""
    served.raw("/robots.txt", f"Sitemap: {served.url}/index.xml")
    served.sitemap("/index.xml", "/one.xml.gz", "/two.xml", kind="sitemapindex", entry="sitemap")
    served.sitemap("/one.xml.gz", "/a")
    _, headers, body = served.pages["/one.xml.gz"]
    served.pages["/one.xml.gz"] = (200, headers, gzip.compress(body))
    served.sitemap("/two.xml", "/b")
    served.page("/a")
    served.page("/b")

    assert ["/a", "/b"] == crawl(served.url)[1]


def test_without_a_sitemap_links_are_followed(served, crawl):
    """A small help centre has no list of its pages; each is read once, however often named."""
    served.page("/", "Home.", "/a", "b#part", "/a?", "mailto:help@example.com", "//[bad")
    served.page("/a", "A.", "/", "/b", "/b#other")
    served.page("/b", "B.", "/a")

    site, paths, problems = crawl(served.url)

    assert (["/", "/a", "/b"], [], True) == (paths, problems, site.complete)
    assert 1 == served.asked.count("/b")


def test_only_what_lies_below_the_address_is_read(served, crawl):
    """Who names the help pages doesn't want the shop."""
    served.page("/help", "Help.", "/help/a", "/shop", "/helpdesk", "http://elsewhere.invalid/help/")
    served.page("/help/a", "A.", "/")
    served.page("/shop")

    assert ["/help", "/help/a"] == crawl(f"{served.url}/help")[1]
    assert not {"/shop", "/helpdesk", "/"} & set(served.asked)


def test_robots_txt_is_kept(served, crawl):
    """A page whose owner asks robots to stay away is not asked for."""
    served.raw("/robots.txt", "User-agent: *\nDisallow: /private\nCrawl-delay: 60\n")
    served.page("/", "Home.", "/private/a", "/b")
    served.page("/b")
    pauses_s = []

    site, paths, _ = crawl(served.url, pause=pauses_s.append)

    assert (["/", "/b"], 1) == (paths, site.n_skipped)
    assert "/private/a" not in served.asked
    assert {5.0} == set(pauses_s)  # a whole minute between pages would take days


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        ("User-agent: *\nDisallow: /a", {"/a", "/a/b", "/a?c"}),
        ("User-agent: *\nDisallow: /*?", {"/a?c"}),
        ("User-agent: *\nDisallow: /*/b$", {"/a/b"}),
        ("User-agent: *\nDisallow: /\nAllow: /a/", {"/", "/a", "/a?c", "/d"}),
        ("User-agent: *\nDisallow: /a\nAllow: /a", set()),
        (
            "User-agent: *\nDisallow: /\n\nUser-agent: other\nUser-agent: Ratchet\nDisallow: /d",
            {"/d"},
        ),
        ("User-agent: other\nDisallow: /", set()),
        ("User-agent: *\nDisallow:  # nothing", set()),
        ("Disallow: /\nnonsense", set()),
    ],
)
def test_rules_of_robots_txt_count_as_the_standard_says(rules, closed):
    """Owners write patterns, exceptions and groups, and mean them."""
    robots = read_robots(rules)
    places = ["/", "/a", "/a/b", "/a?c", "/d"]

    assert closed == {p for p in places if not robots.may_read(f"http://example.com{p}")}


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_site_whose_robots_txt_is_closed_or_broken_is_left_alone(served, crawl, status):
    """Not knowing what the owner asks is no licence."""
    served.raw("/robots.txt", "", status=status)
    served.page("/")

    with pytest.raises(InvalidInput):
        crawl(served.url)

    assert ["/robots.txt"] == served.asked


def test_a_page_that_asks_not_to_be_indexed_is_skipped(served, crawl):
    """Search results and print versions say so themselves."""
    served.page("/", "Home.", "/a", "/b", "/c")
    served.page("/a", head='<meta name="robots" content="NOINDEX, nofollow">')
    served.page("/b", **{"X-Robots-Tag": "noindex"})
    served.page("/c")

    site, paths, _ = crawl(served.url)

    assert (["/", "/c"], 2) == (paths, site.n_skipped)


def test_a_page_is_read_under_the_address_it_calls_its_own(served, crawl):
    """The same article with and without a campaign's name must not be cited twice."""
    served.page("/", "Home.", "/a?from=mail", "/a?from=shop", "/x")
    for path in ("/a?from=mail", "/a?from=shop", "/a"):
        served.page(path, head='<link rel="canonical" href="/a">')
    served.page("/x", head='<link rel="canonical" href="/y">')
    served.page("/y", head='<link rel="canonical" href="/x">')

    assert ["/", "/a", "/y"] == sorted(crawl(served.url)[1])


def test_a_page_that_moved_is_read_where_it_is_now(served, crawl):
    """Links to old addresses are everywhere."""
    served.page("/", "Home.", "/old", "/loop", "/away")
    served.raw("/old", "", status=301, Location="/new")
    served.page("/new", "New.")
    served.raw("/loop", "", status=302, Location="/loop-2")
    served.raw("/loop-2", "", status=302, Location="/loop")
    served.raw("/away", "", status=302, Location="http://169.254.169.254/latest/meta-data")

    site, paths, problems = crawl(served.url)

    assert (["/", "/new"], [], 1) == (paths, problems, site.n_skipped)


def test_a_start_that_sends_readers_elsewhere_says_where(served, crawl):
    """http://example.com often means https://www.example.com; which one is the owner's choice."""
    served.raw("/", "", status=301, Location="https://www.example.com/help")

    with pytest.raises(InvalidInput, match=r"https://www\.example\.com/help; ingest that"):
        crawl(served.url)


def test_what_is_gone_is_told_from_what_failed(served, crawl):
    """A page that is gone is removed, one whose server stumbled stays."""
    served.page("/", "Home.", "/gone", "/failing")
    served.raw("/failing", "", status=503)

    site, _, problems = crawl(served.url)

    assert {f"{served.url}/gone"} == site.gone
    assert [f"{served.url}/failing answered 503; it is left as it was"] == problems
    assert not site.complete  # what only that page links to is not known


def test_a_huge_page_is_refused_before_it_fills_the_memory(served, crawl):
    """One endless answer must not take the worker down, said or unsaid, packed or not."""
    served.page("/", "Home.", "/said", "/unsaid", "/packed")
    served.raw("/said", b"x", kind=HTML, **{"Content-Length": "1000000000"})
    served.pages["/unsaid"] = (200, {"Content-Type": HTML}, (b"x" * 9999 for _ in range(9999)))
    packed = gzip.compress(b"x" * 3_000_000)
    served.raw("/packed", packed, kind=HTML, **{"Content-Encoding": "gzip"})

    _, paths, problems = crawl(served.url, limits=CrawlLimits(page_bytes=2**20))

    assert ["/"] == paths
    assert 3 == sum("more than 1 MB" in reason for reason in problems)


def test_a_slow_page_is_given_up(served, crawl):
    """A server that drips must not hold an ingest for ever."""

    def drip():
        while not served.released.wait(0.02):
            yield b"."

    served.page("/", "Home.", "/slow", "/b")
    served.pages["/slow"] = (200, {"Content-Type": HTML}, drip())
    served.page("/b")

    _, paths, problems = crawl(served.url, limits=CrawlLimits(page_seconds=0.1))

    assert ["/", "/b"] == paths
    assert [f"{served.url}/slow did not answer in time; it is left as it was"] == problems


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (CrawlLimits(n_pages=3), "3 pages"),
        (CrawlLimits(n_bytes=200), "MB"),
        (CrawlLimits(seconds=0), "0 s"),
    ],
)
def test_a_site_without_end_is_left_in_time(served, crawl, limits, said):
    """A calendar links to the next month for ever."""
    for month in range(50):
        served.page(f"/{month or ''}", "Nothing.", f"/{month + 1}")

    site, _, problems = crawl(served.url, limits=limits)

    assert not site.complete
    assert ["stopped after", "removed"] == [problems[-1][:13], problems[-1][-7:]]
    assert said in problems[-1]


def test_files_are_read_and_pictures_are_not_loaded(served, parser):
    """A manual as PDF is an article; a photo isn't."""
    served.page("/", "Home.", "/manual.pdf", "/photo.png")
    served.raw("/manual.pdf", b"%PDF-1.7", kind="application/pdf")
    served.raw("/photo.png", b"\x89PNG", kind="image/png")

    found = list(Site(served.url, parser).pages())

    assert [".html", ".pdf"] == [page.suffix for page in found]


def test_an_address_that_is_none_is_refused(parser):
    """A typo is told at once; a password must not end up beside an answer."""
    for url in ("https://", "https://user:secret@example.com/", "ftp://example.com/"):
        with pytest.raises(InvalidInput, match="no web address"):
            Site(url, parser)


def test_a_broken_sitemap_removes_nothing(served, crawl):
    """Half a list says nothing about the other half."""
    served.sitemap("/sitemap.xml", "/one.xml", "/two.xml", kind="sitemapindex", entry="sitemap")
    served.sitemap("/one.xml", "/a")
    served.raw("/two.xml", "", status=500)
    served.page("/a")

    site, paths, _ = crawl(served.url)

    assert (["/a"], False) == (paths, site.complete)


def test_a_page_in_place_of_a_sitemap_is_no_sitemap(served, crawl):
    """Many sites answer any address with a page; theirs are found by links, and go when gone."""
    served.page("/sitemap.xml", "Nothing here.")
    served.page("/", "Home.", "/a")
    served.page("/a")

    site, paths, _ = crawl(served.url)

    assert (["/", "/a"], True) == (paths, site.complete)


def test_a_sitemap_with_entities_is_refused():
    """Ten lines of them unfold to gigabytes."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><urlset>&b;</urlset>'

    with pytest.raises(InvalidInput, match="isn't a sitemap"):
        read_sitemap(bomb, 1000)
    with pytest.raises(InvalidInput, match="unpacks to more"):
        read_sitemap(gzip.compress(b"x" * 10_000), 1000)


def test_a_public_address_is_connected_to_under_its_name(monkeypatch, served):
    """A server with many sites must be told which one is meant."""

    async def resolved(_host, _port):
        return ["127.0.0.1"]

    monkeypatch.setattr("retrieval.fetch.public_addresses", resolved)
    served.page("/")
    port = served.url.rsplit(":", 1)[1]

    with Fetcher(public_only=True) as fetcher:
        answer = fetcher.get(f"http://help.example.com:{port}/", max_bytes=1000, timeout_s=5)

    assert 200 == answer.status
    assert [f"help.example.com:{port}"] == served.hosts


def test_pages_in_other_encodings_are_read():
    """Old help pages are not UTF-8, and say so in their header or in themselves."""
    assert "Café" == as_utf8("Café".encode("latin-1"), "iso-8859-1").decode()
    assert "Café" == as_utf8("Café".encode(), "").decode()
    said = '<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">料金'
    assert said == as_utf8(said.encode("shift_jis"), "").decode()
    assert "Café" == as_utf8("Café".encode("cp1252"), "no-such-charset").decode()


def test_one_page_has_one_spelling():
    """Each spelling of an address would be cited as an article of its own."""
    spellings = [
        "HTTP://Example.com/a/./b/../c#x",
        "http://example.com:80/a/c",
        "//example.com/a/c",
    ]

    assert {"http://example.com/a/c"} == {canonical(s, "http://example.com") for s in spellings}
    assert "http://example.com/" == canonical("http://example.com", "")
