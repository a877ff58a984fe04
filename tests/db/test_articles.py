"""The desk's list of articles: a page at a time, found by any words of title and source."""

import numpy as np
import pytest

from core.attempts import Outcome
from core.errors import NotFound
from core.jobs import end_attempt, get_job, list_jobs, request_job
from core.turns import questions_of
from retrieval.articles import PAGE_SIZE, article_chunks, find_articles, get_article
from retrieval.chunk import Chunk
from retrieval.load import LoadedDocument
from retrieval.store import delete_document, replace_document
from tests.builders import make_turn
from tests.worker import hold


def store(conn, uri, title, n_chunks=1, **fields):
    embeddings_ND = np.tile(np.eye(1, 384, dtype=np.float32), (n_chunks, 1))
    chunks = [Chunk(n, ("Prices",), f"Part {n}.", 3) for n in range(n_chunks)]
    document = LoadedDocument(uri, title, "text/markdown", "Text.")
    return replace_document(conn, document, "0" * 64, chunks, embeddings_ND, **fields)


def titles(conn, words, page=0):
    return [article.title for article in find_articles(conn, words, page).articles]


def test_any_order_of_words_finds_title_source_and_group(conn):
    """One types what one remembers."""
    store(conn, "https://shop.example/help/gifts", "Gift cards", n_chunks=3)
    store(conn, "/articles/returns.md", "Returning a gift", audience="staff")

    assert ["Gift cards", "Returning a gift"] == titles(conn, "gift")
    assert ["Returning a gift"] == titles(conn, "STAFF returns.md")
    assert ["Gift cards"] == titles(conn, "cards shop.example")
    assert 3 == find_articles(conn, "cards", 0).articles[0].n_chunks


@pytest.mark.parametrize("words", ["100%", "a_b", "back\\slash"])
def test_signs_stand_for_themselves(conn, words):
    """A per cent sign is no wild card."""
    store(conn, "/1", f"The {words} article")
    store(conn, "/2", "The 100 axb backslash article")

    assert [f"The {words} article"] == titles(conn, words)


def test_pages_end_where_the_articles_end(conn):
    """Who turns too far sees the last page, not an empty one."""
    for n in range(PAGE_SIZE + 1):
        store(conn, f"/{n}", f"Article {n:02}")

    last = find_articles(conn, "", 99)

    assert (1, 2, PAGE_SIZE + 1) == (last.page, last.n_pages, last.n_found)
    assert [f"Article {PAGE_SIZE}"] == [article.title for article in last.articles]
    assert 0 == find_articles(conn, "", -1).page
    assert 0 == find_articles(conn, "nowhere", 5).page


def test_an_article_is_read_in_the_order_of_its_chunks(conn):
    """As the search has it; gone is gone."""
    article_id = store(conn, "/a", "A", n_chunks=2)

    assert [(0, "Part 0."), (1, "Part 1.")] == [
        (chunk.position, chunk.body) for chunk in article_chunks(conn, article_id)
    ]
    delete_document(conn, "help", "/a")
    with pytest.raises(NotFound, match="this article is gone"):
        get_article(conn, article_id)


def test_a_list_of_evaluations_leaves_their_misses_out(conn):
    """Twenty long lists at every look would make the page slow."""
    request_job(conn, "ingest", {"sources": []})
    job = request_job(conn, "evaluate", {"queries": "turns"})
    assert job.is_open
    result = {"n_queries": 1, "misses": ["long"]}
    end_attempt(conn, hold(conn, "evaluate"), Outcome.DONE, result=result)

    [listed] = list_jobs(conn, "evaluate", 20, without="misses")

    assert (False, {"n_queries": 1}) == (listed.is_open, listed.result)
    assert ["long"] == get_job(conn, job.id).result["misses"]


def test_an_erased_question_is_not_shown_again(conn):
    """Results of evaluations name turns; the words are looked up while they exist."""
    kept, erased = make_turn(conn, question="Kept?"), make_turn(conn, question="Erased?")
    sql = "UPDATE conversations SET deleted_at = now() WHERE id = %s"
    conn.execute(sql, (erased.conversation_id,))

    assert {str(kept.id): "Kept?"} == questions_of(conn, [str(kept.id), str(erased.id)])
