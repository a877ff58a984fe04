"""Links to passages of old answers, after the article behind them has changed hands."""

import pytest

from core.settings import Settings
from retrieval.embed import get_embedder
from retrieval.ingest import ingest
from tests.builders import make_passage, make_turn


@pytest.fixture
def article(web, tmp_path):
    """A function that brings an article in for an audience, and returns its id."""

    def bring_in(text, audience):
        path = tmp_path / "prices.md"
        path.write_text(f"# Prices\n\n{text}\n")
        ingest(web.database, get_embedder(Settings(_env_file=None)), [path], audience=audience)
        with web.database.connect() as conn:
            sql = "SELECT id FROM documents WHERE uri = %s"
            return conn.execute(sql, (str(path),)).fetchone()[0]

    return bring_in


@pytest.fixture
def link(visitor, web, article):
    """The link to a source of an answer that was given when all might read it."""
    document_id = article("A pan costs $40.", "everyone")
    seen = make_passage(body="A pan costs $40.", document_id=document_id, title="Prices")
    with web.database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor.id, passages=[seen])
    return f"/turns/{turn.id}/passages/1"


def test_an_old_link_shows_the_passage_as_it_was_seen(visitor, admin, article, link):
    """The article is for staff now, and what staff read is in its text of today."""
    article("A pan costs us $11, sell it at $40.", "staff")

    shown = visitor.get(link).text

    assert "A pan costs $40." in shown
    assert "$11" not in shown
    assert "no longer open to you" in shown
    assert "$11" in admin.get(link).text


def test_the_article_of_today_is_shown_to_whom_it_is_for(visitor, article, link):
    """With a word that it has changed since."""
    article("A pan costs $45.", "everyone")

    shown = visitor.get(link).text

    assert "A pan costs $40." in shown
    assert "A pan costs $45." in shown
