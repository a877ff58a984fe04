"""What customers and articles wrote reaches the page as text, and citations as links."""

import re
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.chat.view import ShownTurn, below, linked
from bot.html import MAX_CHARS, _renders, article, passage_lines, plain_in_markdown, prose
from bot.tables import MAX_CELLS
from core.errors import Busy
from core.types import Turn, TurnStatus
from tests.builders import make_passage

TURN_ID = uuid4()
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1)) ![y](http://z/y)"
RENDER = MarkdownIt("commonmark", {"html": True})  # as lenient as a page may be


def a_turn(answer, status=TurnStatus.COMPLETE):
    fields = dict.fromkeys(Turn.__dataclass_fields__)
    return Turn(**{**fields, "id": TURN_ID, "answer": answer, "status": status})


def links_in(markdown):
    return markdown.count('<a class="cite"')


def test_a_citation_links_to_what_the_model_saw():
    """A customer must be able to check every statement with one click."""
    shown = linked("Within 30 days [1].", TURN_ID, [make_passage()])

    assert f'href="/turns/{TURN_ID}/passages/1#passage"' in shown


def test_several_numbers_in_one_bracket_are_several_links():
    """Models write [1, 2] as well as [1][2]."""
    passages = [make_passage(1), make_passage(2)]

    assert 2 == links_in(linked("Yes [1, 2].", TURN_ID, passages))
    assert 2 == links_in(linked("Yes [1][2].", TURN_ID, passages))


@pytest.mark.parametrize("answer", ["See [9].", "See [0].", "See [1, 9].", "See [x].", "a[1"])
def test_a_number_without_a_passage_is_no_link(answer):
    """A link that opens nothing would look like proof."""
    assert 0 == links_in(linked(answer, TURN_ID, [make_passage()]))


def test_an_answers_own_html_links_and_pictures_are_text():
    """A poisoned article could make the model write them; a picture's address leaks."""
    shown = RENDER.render(linked(HOSTILE, TURN_ID, []))

    assert "<script" not in shown
    assert "<img" not in shown
    assert "<a " not in shown


def test_an_answers_lists_and_emphasis_are_kept():
    """Steps are easier to follow as a list."""
    shown = RENDER.render(linked("1. **Wash** it\n2. Dry it", TURN_ID, []))

    assert "<ol>" in shown
    assert "<strong>Wash</strong>" in shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0\x0b\x0c")))
def test_a_question_is_shown_character_for_character(question):
    """Nothing a customer types may turn into markup, in their page or an admin's."""
    html = RENDER.render(plain_in_markdown(question))

    assert set() == {
        tag for tag in ("<a", "<em", "<strong", "<code", "<img", "<h", "<ul", "<ol") if tag in html
    }


def test_a_hostile_title_stays_inside_its_attribute():
    """Titles come from uploaded files."""
    hostile = make_passage(title='"><script>alert(1)</script>', heading="<b>", body="<i>\n\n<hr>")

    shown = linked("Yes [1].", TURN_ID, [hostile]) + below(ShownTurn(a_turn("Yes [1]."), [hostile]))

    assert "<script" not in shown
    assert "<b>" not in shown
    assert "<hr>" not in shown


def test_only_cited_passages_stand_under_an_answer():
    """Three sources of which one was used would hide the one."""
    passages = [make_passage(1), make_passage(2, title="Not used")]

    shown = below(ShownTurn(a_turn("Yes [1]."), passages))

    assert "Article 1" in shown
    assert "Not used" not in shown


def test_an_answer_without_citation_says_so():
    """The reader should trust it less, and still see what was looked at."""
    shown = below(ShownTurn(a_turn("Maybe."), [make_passage()]))

    assert "No source cited" in shown
    assert "<details" in shown


def test_an_answer_that_broke_off_shows_no_sources():
    """They would lend weight to half a sentence."""
    assert "source" not in below(ShownTurn(a_turn("Within", TurnStatus.FAILED), [make_passage()]))


def test_an_articles_raw_html_is_shown_as_text():
    """Articles are uploaded by many hands."""
    shown, _ = article(HOSTILE, "")

    assert "<script" not in shown
    assert "<img" not in shown
    assert "javascript:" not in shown.split("href")[-1]
    assert "<script" not in prose(HOSTILE)


def test_the_passage_is_marked_in_its_article():
    """The reader should land on the sentence, not on the first page."""
    body = "# Returns\n\nFree for all.\n\nWithin 30 days of\ndelivery.\n\nNo fee."

    shown, found = article(body, "Within 30 days of delivery.")

    assert found
    assert '<p class="passage" id="passage">Within 30 days' in shown
    assert 1 == shown.count('class="passage"')


def test_only_the_meant_items_of_a_list_are_marked():
    """A long list marked whole points nowhere."""
    shown, _ = article("- one\n- two\n- three", "- two")

    assert '<li class="passage" id="passage">two</li>' in shown
    assert 1 == shown.count('class="passage"')


def test_rows_of_a_cut_table_are_found_under_a_repeated_header():
    """Chunks of a long table repeat its header; the article holds it once."""
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"

    assert range(3, 4) == passage_lines(table, "| a | b |\n|---|---|\n| 3 | 4 |")


def test_a_table_too_wide_to_read_is_shown_as_text():
    """Its rows are filled up to its width: 1.5 KB of an article made 650 KB of a page."""
    wide = f"{'|a' * 250}|\n{'|-' * 250}|\n" + "x\n" * 260

    shown, _ = article(wide, "")

    assert "<table" not in shown
    assert len(shown) < 2 * len(wide)


def test_all_tables_together_have_a_bounded_number_of_cells():
    """Many long tables of short rows cost as much as a wide one."""
    long = f"{'|a' * 40}|\n{'|-' * 40}|\n" + "x\n" * 1000 + "\n"

    shown, _ = article(long * 10, "")

    assert MAX_CELLS - 80 <= shown.count("<td") + shown.count("<th>") <= MAX_CELLS
    assert "x\nx\nx" in shown


def test_an_ordinary_table_is_still_one():
    """Prices stand in tables."""
    shown, _ = article("| size | price |\n|---|---|\n| small | $3 |", "")

    assert 2 == shown.count("<td")


def test_of_a_very_long_article_the_part_around_the_passage_is_shown():
    """A book of 20 MB would keep the page busy for a minute."""
    before = "".join(f"Line {n} of the book.\n\n" for n in range(20_000))

    shown, found = article(f"{before}Within 30 days.\n\n{before}", "Within 30 days.")

    assert found
    assert '<p class="passage" id="passage">Within 30 days.</p>' in shown
    assert "here is the part around the passage" in shown
    assert MAX_CHARS / 2 < len(shown) < 2 * MAX_CHARS
    assert not re.search("<p>(?!Line )", shown)


def test_of_a_very_long_article_without_a_passage_its_beginning_is_shown():
    """And the reader is told that there is more."""
    shown, found = article("# Book\n\n" + "Word by word.\n" * 10_000, "Not in it.")

    assert not found
    assert shown.startswith('<p class="note">This article is very long; here is its beginning.')
    assert "<h1>Book</h1>" in shown


def test_a_passage_in_an_endless_line_is_shown_alone():
    """Text without a line's end can't be cut at one."""
    shown, found = article("word " * 50_000 + "Within 30 days.", "Within 30 days.")

    assert found
    assert 'id="passage"><p>Within 30 days.</p>' in shown


def test_two_articles_are_rendered_at_once_and_one_is_kept(monkeypatch):
    """Renderings keep a core busy each; the chat needs the rest."""
    article("Shown before.", "")
    monkeypatch.setattr("bot.html.RENDER_WAIT_S", 0)
    with _renders, _renders:
        with pytest.raises(Busy, match="try again"):
            article("Not shown before.", "")
        assert "<p>Shown before.</p>\n" == article("Shown before.", "")[0]


def test_a_passage_is_found_among_words_that_repeat():
    """A search word by word took a second where each word could be the first."""
    words = "a a a b\n" * 3 + "a a a a b c\n"

    assert range(3, 4) == passage_lines(words, "a a a a b c")
    assert range(2, 4) == passage_lines(words, "b a a a a b c")
    assert passage_lines(words, "a a c") is None


def test_a_passage_that_is_gone_is_not_marked():
    """Marking something else would be a lie about the source."""
    shown, found = article("All is new.", "Within 30 days.")

    assert not found
    assert "passage" not in shown


def test_a_stopped_answer_keeps_its_citations():
    """What was written before the stop is still sourced."""
    turn = replace(a_turn("Within 30 days [1]"), status=TurnStatus.STOPPED)

    assert "Article 1" in below(ShownTurn(turn, [make_passage()]))


@pytest.mark.parametrize(
    "typed", ["_a_", "*a*", "`a`", "1. a", "# a", "http://x.y", "a@b.cd", "~a~"]
)
def test_what_looks_like_markup_in_a_question_is_text(typed):
    """The bubble must show what was typed, and lead nowhere."""
    assert f"<p>{typed}</p>\n" == RENDER.render(plain_in_markdown(typed))
