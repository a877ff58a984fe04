"""The desk's knowledge and search-quality pages in a real browser, jobs carried out for real."""

import json
import re
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect

from core.jobs import list_jobs, request_job
from retrieval.adoption import current_options
from retrieval.articles import find_articles
from retrieval.embed import get_embedder
from retrieval.ingest import ingest
from retrieval.options import SearchOptions
from tests.web import sign_in
from tests.worker import carry_out

HOSTILE = '<img src=x onerror="window.ran = 1"> ${1} {{7}}'


@pytest.fixture(scope="module")
def company(short_tmp):
    """A company with three articles and golden questions, one of which the search must miss."""
    folder = short_tmp / f"company-{uuid4().hex[:8]}"  # made again when the order is mixed
    (folder / "articles").mkdir(parents=True)
    articles = folder / "articles"
    (articles / "returns.md").write_text("# Returns\n\nYou can return things within 30 days.\n")
    (articles / "delivery.md").write_text(
        "# Delivery\n\n## How long\n\nParcels arrive within 3 days.\n\n## Price\n\nIt costs $5.\n"
    )
    (articles / "hostile.md").write_text(f"# {HOSTILE}\n\nGift cards never expire. {HOSTILE}\n")
    golden = [
        {"question": "When does my parcel arrive?", "article": "delivery.md"},
        {"question": "Can I return things?", "article": "returns.md"},
        {"question": f"Do gift cards expire? {HOSTILE}", "article": "returns.md"},
    ]
    (folder / "golden.jsonl").write_text("\n".join(map(json.dumps, golden)))
    return folder


@pytest.fixture(scope="module")
def web(start_web, company):
    """The web app alone, of a company with a few articles."""
    with start_web(company.with_name(f"{company.name}-home"), company=company) as running:
        yield running


@pytest.fixture
def shop(web, company):
    """The web app's database with the company's articles and no jobs, and its settings."""
    settings, database = web.settings, web.database
    with database.connect() as conn:
        conn.execute("DELETE FROM jobs; DELETE FROM documents")
    ingest(database, get_embedder(settings), [company / "articles"])
    return database, settings


@pytest.fixture
def desk(page, web, shop):
    """Open a tab of the desk as the admin: `desk("Knowledge")`."""
    page.set_default_timeout(15_000)
    return lambda tab: sign_in(page, web.url, tab)


def n_articles(database):
    with database.connect() as conn:
        return find_articles(conn, "", 0).n_all


def test_articles_are_found_by_typing_and_opened_by_a_click(desk):
    """Ten thousand articles are no list to scroll through."""
    page = desk("Knowledge")
    expect(page.locator("#desk-articles-line")).to_contain_text("3 articles")

    page.locator("#desk-filter input, #desk-filter textarea").fill("deliv")
    expect(page.locator("#desk-articles-line")).to_contain_text("1 of 3 articles")
    page.get_by_role("button", name="Delivery").click()

    card = page.locator("#desk-article")
    expect(card).to_contain_text("1 · How long")
    expect(card).to_contain_text("Parcels arrive within 3 days.")
    expect(card).to_contain_text("2 · Price")
    expect(card.get_by_role("link", name="the whole article")).to_be_visible()


def test_what_documents_hold_is_shown_as_text(desk):
    """Articles come from sites and files that others write."""
    page = desk("Knowledge")
    page.locator("#desk-articles button", has_text="onerror").click()
    expect(page.locator("#desk-article .written")).to_have_text(
        f"Gift cards never expire. {HOSTILE}"
    )
    page.get_by_label("Try a question").fill(f"Do gift cards expire? {HOSTILE}")
    page.get_by_role("button", name="Find passages").click()

    expect(page.locator("#desk-tried")).to_contain_text(
        f"Found for “Do gift cards expire? {HOSTILE}"
    )
    assert page.evaluate("window.ran") is None


def test_a_tried_question_tells_why_each_passage_is_there(desk):
    """A passage found by its words alone is mended otherwise than one found by its meaning."""
    page = desk("Knowledge")

    page.get_by_label("Try a question").fill("When does my parcel arrive?")
    page.get_by_label("Try a question").press("Enter")

    first = page.locator("#desk-tried .chunk").first
    expect(first).to_contain_text("1 · Delivery > How long")
    expect(first).to_contain_text("1st by meaning")
    expect(first).to_contain_text("1st by words")
    expect(first).to_contain_text(re.compile(r"cosine 0\.\d\d"))


def test_a_question_about_nothing_says_what_the_bot_would_say(desk):
    """The threshold is a setting; here one sees it at work."""
    page = desk("Knowledge")

    page.get_by_label("Try a question").fill("Who won the chess championship of 1972?")
    page.get_by_role("button", name="Find passages").click()

    expect(page.locator("#desk-tried")).to_contain_text("The bot would say that it found nothing")


def test_uploaded_files_come_in_and_refused_ones_say_why(desk, shop, tmp_path):
    """The good ones are not kept waiting by the broken ones."""
    database, settings = shop
    (tmp_path / "gifts.md").write_text("# Gifts\n\nWe wrap gifts for free.\n")
    (tmp_path / "broken.pdf").write_text("this is no PDF")
    page = desk("Knowledge")
    page.get_by_role("button", name="Bring articles in").click()

    page.locator("#desk-files input[type=file]").set_input_files(
        [tmp_path / "gifts.md", tmp_path / "broken.pdf"]
    )
    expect(page.locator("#desk-ingest")).to_contain_text("Waiting for the worker")
    carry_out(database, settings)

    expect(page.locator("#desk-ingest")).to_contain_text("Done")
    expect(page.locator("#desk-ingest")).to_contain_text("1 new")
    refused = page.locator("#desk-ingest").get_by_role("row", name=re.compile("broken.pdf"))
    expect(refused).to_be_visible()
    expect(page.locator("#desk-articles-line")).to_contain_text("4 articles")
    assert "We wrap" in (settings.home / "uploads" / "gifts.md").read_text()


def test_the_folder_is_brought_in_again_by_one_click(desk, shop, company):
    """An article mended on disk is in the next answer."""
    database, settings = shop
    (company / "articles" / "new.md").write_text("# New\n\nWe are new.\n")
    page = desk("Knowledge")
    page.get_by_role("button", name="Bring articles in").click()

    page.get_by_role("button", name="Bring in the articles folder again").click()
    page.get_by_role("button", name="Bring in the articles folder again").click()
    expect(page.locator("#desk-ingest")).to_contain_text("Waiting for the worker")
    with database.connect() as conn:
        [job] = list_jobs(conn)  # the same wish twice is one job
    assert {"sources": [str(company / "articles")], "audience": "everyone"} == job.request
    carry_out(database, settings)

    expect(page.locator("#desk-ingest")).to_contain_text("1 new, 3 unchanged")
    (company / "articles" / "new.md").unlink()


def test_an_ingest_is_cancelled_at_a_click(desk, shop):
    """A site that turns out to be huge is left alone again."""
    page = desk("Knowledge")
    expect(page.locator("#desk-articles-line")).to_contain_text("3 articles")
    page.get_by_role("button", name="Bring articles in").click()
    page.get_by_role("button", name="Bring in the articles folder again").click()

    page.get_by_role("button", name="Cancel this ingest").click()

    expect(page.locator("#desk-ingest h3")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel this ingest")).to_be_hidden()
    assert carry_out(*shop) is None


def test_an_evaluation_is_cancelled_at_a_click(desk, shop):
    """The wrong settings were typed; one need not wait for what nobody wants to know."""
    page = desk("Search quality")
    page.get_by_role("button", name="Evaluate").click()

    page.get_by_role("button", name="Cancel this evaluation").click()

    expect(page.locator("#desk-evaluation-card h3")).to_contain_text("Cancelled")
    assert carry_out(*shop, "evaluate") is None


def test_a_site_needs_its_whole_address(desk, shop):
    """A slip is told at once, not by a job that fails later."""
    page = desk("Knowledge")
    page.get_by_role("button", name="Bring articles in").click()

    page.locator("#desk-site input, #desk-site textarea").fill("file:///etc/passwd")
    page.get_by_role("button", name="Bring in the site").click()

    expect(page.get_by_text("rite the site’s whole address")).to_be_visible()
    with shop[0].connect() as conn:
        assert [] == list_jobs(conn)


def test_an_article_goes_only_after_a_yes(desk, shop):
    """One click must not cost an article."""
    page = desk("Knowledge")
    page.get_by_role("button", name="Returns").click()
    page.get_by_role("button", name="Remove …").click()
    expect(page.locator("#desk-delete-asked")).to_contain_text("Remove “Returns”?")
    assert 3 == n_articles(shop[0])

    page.get_by_role("button", name="Yes, remove it").click()

    expect(page.locator("#desk-knowledge-said")).to_contain_text("Removed “Returns”.")
    expect(page.locator("#desk-articles-line")).to_contain_text("2 articles")
    expect(page.locator("#desk-article")).to_be_hidden()
    assert 2 == n_articles(shop[0])


def test_an_evaluation_shows_figures_misses_and_the_comparison(desk, shop):
    """The question behind it all: is my search right, and would another setting be better?"""
    database, settings = shop
    page = desk("Search quality")
    expect(page.locator("#desk-evaluation-card")).to_contain_text("No evaluation yet")

    page.get_by_label("Compare with other settings").fill("rrf_k=60, text_weight=1")
    page.get_by_role("button", name="Evaluate").click()
    expect(page.locator("#desk-evaluation-card")).to_contain_text("Waiting for the worker")
    carry_out(database, settings, "evaluate")

    card = page.locator("#desk-evaluation-card")
    expect(card).to_contain_text("3 questions")
    expect(card).to_contain_text("Two settings on the same questions")
    expect(card.locator("figure.recall polyline")).to_have_count(4)
    misses = page.locator("#desk-misses")
    expect(misses).to_contain_text("Misses (1)")
    expect(misses.get_by_text("Do gift cards expire?")).to_be_visible()
    expect(misses.get_by_role("link", name="Returns").first).to_be_visible()
    expect(page.locator("#desk-evaluations")).to_contain_text("golden.jsonl, against rrf_k=60")
    assert page.evaluate("window.ran") is None


def test_settings_that_won_are_adopted_by_one_press_and_leave_by_one_more(desk, shop):
    """Who sees that another setting is better must not have to edit a server's environment."""
    database, settings = shop
    golden = str(settings.company / "golden.jsonl")
    with database.connect() as conn:
        request_job(conn, "evaluate", {"queries": golden, "against": {"rrf_k": 60}})
    carry_out(database, settings, "evaluate")
    page = desk("Search quality")
    expect(page.locator("#desk-evaluation-card")).to_contain_text("Two settings")
    expect(page.get_by_role("button", name="Adopt these settings")).to_be_hidden()

    with database.connect() as conn:  # three questions prove nothing; here they shall
        conn.execute("UPDATE jobs SET result = jsonb_set(result, '{against,won}', 'true')")
    page.reload()
    page.get_by_role("tab", name="Search quality").click()
    page.get_by_role("button", name="Adopt these settings").click()

    in_use = page.locator("#desk-search-in-use")
    expect(in_use).to_contain_text("Adopted and in use: rrf_k=60.")
    expect(page.get_by_role("button", name="Adopt these settings")).to_be_hidden()
    with database.connect() as conn:
        assert 60 == current_options(conn, settings).rrf_k
    page.get_by_role("button", name="Back to the settings").click()

    expect(in_use).not_to_contain_text("Adopted")
    expect(page.get_by_role("button", name="Back to the settings")).to_be_hidden()
    with database.connect() as conn:
        assert SearchOptions.of(settings) == current_options(conn, settings)


def test_a_setting_that_is_none_is_refused(desk):
    """The names are few, and the line says them."""
    page = desk("Search quality")

    page.get_by_label("Compare with other settings").fill("colour=red")
    page.get_by_role("button", name="Evaluate").click()

    expect(page.get_by_text("there are n_candidates, rrf_k, text_weight")).to_be_visible()


def test_without_judged_answers_an_evaluation_says_so(desk, shop):
    """On the first day there are none yet."""
    database, settings = shop
    with database.connect() as conn:
        request_job(conn, "evaluate", {"queries": "turns"})
    carry_out(database, settings, "evaluate")

    page = desk("Search quality")

    expect(page.locator("#desk-evaluation-card")).to_contain_text(
        "no liked answer cites an article"
    )


@pytest.mark.parametrize("tab", ["Knowledge", "Search quality"])
def test_the_page_fits_a_phone(desk, page, shop, tab):
    """A shop's owner looks in from the bus."""
    database, settings = shop
    golden = str(settings.company / "golden.jsonl")
    with database.connect() as conn:
        request_job(conn, "evaluate", {"queries": golden, "against": {"rrf_k": 60}})
    carry_out(database, settings, "evaluate")
    desk(tab)

    page.set_viewport_size({"width": 390, "height": 844})

    shown = page.locator("#desk-articles table, #desk-misses h2").locator("visible=true")
    expect(shown).to_be_visible()
    assert 390 == page.evaluate("document.documentElement.scrollWidth")


def test_a_customer_can_neither_upload_nor_call(web):
    """Gradio answers private endpoints; a hidden page is no lock."""
    with httpx.Client(base_url=web.url, timeout=10) as customer:
        customer.get("/")  # gives the visitor's cookie
        file = {"files": ("evil.md", b"# Evil")}
        call = {"data": [], "fn_index": 0, "session_hash": uuid4().hex}
        answers = [
            customer.post("/desk/gradio_api/upload", files=file),
            customer.post("/desk/gradio_api/queue/join", json=call),
        ]

    assert [401, 401] == [answer.status_code for answer in answers]
