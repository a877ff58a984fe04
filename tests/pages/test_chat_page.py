"""The customers' page in a real browser, on the whole stack."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import expect

from core.conversations import list_conversations
from core.db import Database
from core.feedback import corrections_of, current_rating
from core.turns import get_turn, load_turns
from core.types import Rating, TurnStatus
from tests.builders import BEN, make_passage, make_turn
from tests.web import visitor_of, web_that_holds

QUESTION = "How should I wash my cast iron pan?"
HOSTILE = '<img src=x onerror="window.ran=1"><script>window.ran=1</script> **b** [l](http://e/) _i_'
WAIT_MS = 20_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def database(stack):
    """The stack's database."""
    with closing(Database(stack.settings.dsn).open()) as opened:
        yield opened


@pytest.fixture(scope="module")
def held_url(stack):
    """A second web app on the same stack; its answers stay in the middle until they are left."""
    with web_that_holds(stack) as running:
        yield running.url


@pytest.fixture
def chat(page, stack):
    """The page as a new visitor finds it."""
    page.set_default_timeout(WAIT_MS)
    page.goto(stack.url)
    expect(page.locator("#composer textarea")).to_be_visible(timeout=WAIT_MS)
    return page


def ask(page, question):
    page.locator("#composer textarea").fill(question)
    page.keyboard.press("Enter")


def answered(page, n_answers=1):
    """Wait until the last answer is there to be rated, and return it."""
    # The whole answer is drawn by another element than the pieces before it: what is read then
    # is what is stored.
    expect(page.locator("#chat .bot-row .answer:not(.writing)")).to_have_count(n_answers)
    expect(page.locator("#actions")).to_be_visible(timeout=WAIT_MS)
    return page.locator("#chat .bot-row").last


def seed(page, database, stack, **fields):
    """Store a turn as the visitor's and open its conversation."""
    with database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor_of(page), **fields)
    page.goto(f"{stack.url}/?c={turn.conversation_id}")
    answered(page)
    return turn


def thumb(page, name):
    return page.get_by_role("button", name=name, exact=True).last


def test_a_question_is_answered_and_survives_a_reload(chat, database):
    """Conversations live in Postgres, not in the browser."""
    ask(chat, QUESTION)
    text = answered(chat).inner_text()
    expect(chat).to_have_url(re.compile(r"\?c=[0-9a-f-]{36}$"))

    chat.reload()

    expect(chat.locator("#chat .user-row")).to_have_text(QUESTION)
    assert text == answered(chat).inner_text()
    with database.connect() as conn:
        (talk,) = list_conversations(conn, visitor_of(chat))
    assert QUESTION == talk.title


def test_a_suggested_question_is_asked_with_one_click(chat):
    """An empty page should not look at the customer blankly."""
    suggestion = chat.locator("#chat .example").first
    text = suggestion.inner_text()

    suggestion.click()

    expect(chat.locator("#chat .user-row")).to_have_text(text)
    answered(chat)


def test_a_citation_opens_the_passage_in_its_article(chat, database, stack):
    """Every statement can be checked with one click, and Escape leads back."""
    with database.connect() as conn:
        chunk_id, document_id, title, body = conn.execute(
            "SELECT c.id, d.id, d.title, c.body FROM chunks c JOIN documents d"
            " ON d.id = c.document_id WHERE d.uri LIKE '%cast-iron%' ORDER BY c.position LIMIT 1"
        ).fetchone()
    found = make_passage(chunk_id=chunk_id, document_id=document_id, title=title, body=body)
    seed(chat, database, stack, passages=[found], answer="Dry it at once [1].")

    chat.get_by_role("link", name="1", exact=True).click()

    marked = chat.frame_locator("#source-drawer iframe").locator("#passage")
    expect(marked).to_be_visible()
    assert marked.inner_text().split()[:3] == body.replace("*", "").split()[:3]
    chat.keyboard.press("Escape")
    expect(chat.locator("#source-drawer")).to_be_hidden()
    expect(chat.get_by_role("link", name="1", exact=True)).to_be_focused()


def test_a_thumb_is_stored_before_the_page_says_thanks(chat, database, stack):
    """Thanks for something that is lost would be a lie."""
    turn = seed(chat, database, stack)

    thumb(chat, "Like").click()
    expect(chat.locator("#thanks")).to_have_text("Saved. Thank you!")

    with database.connect() as conn:
        assert Rating.UP is current_rating(conn, turn.id, visitor_of(chat)).rating


def test_what_was_wrong_is_restored_after_a_reload(chat, database, stack):
    """Several reasons, a comment, and what it should have said."""
    turn = seed(chat, database, stack)
    thumb(chat, "Dislike").click()
    chat.get_by_label("It's wrong").check()
    chat.get_by_label("Out of date").check()
    chat.get_by_label("Anything else?").fill("The shop told me <b>so</b>.")
    chat.get_by_label("What should it have said?").fill("Within 45 days.")
    chat.get_by_role("button", name="Send", exact=True).click()
    expect(chat.locator("#feedback-panel")).to_be_hidden()

    chat.reload()

    note = chat.locator(".your-feedback")
    expect(note).to_contain_text("It's wrong · Out of date · “The shop told me <b>so</b>.”")
    expect(note).to_contain_text("It should have said: “Within 45 days.”")
    expect(thumb(chat, "Disliked")).to_be_visible()
    with database.connect() as conn:
        assert {"incorrect", "outdated"} == set(
            current_rating(conn, turn.id, visitor_of(chat)).reasons
        )
        assert ["Within 45 days."] == [c.body for c in corrections_of(conn, turn.id)]


def test_a_thumb_can_be_taken_back(chat, database, stack):
    """By pressing it again."""
    turn = seed(chat, database, stack)
    thumb(chat, "Like").click()
    expect(chat.locator("#thanks")).to_have_text("Saved. Thank you!")

    thumb(chat, "Liked").click()

    expect(chat.locator("#thanks")).to_have_text("Your thumb was taken back.")
    with database.connect() as conn:
        assert current_rating(conn, turn.id, visitor_of(chat)) is None


def test_a_thumb_after_a_reload_reaches_the_right_answer(chat, database, stack):
    """The list on the screen may be older than the store."""
    first = seed(chat, database, stack)
    chat.reload()
    answered(chat)
    with database.connect() as conn:  # another window goes on in the same conversation
        make_turn(
            conn, owner_id=visitor_of(chat), conversation_id=first.conversation_id, position=1
        )

    thumb(chat, "Dislike").click()
    expect(chat.locator("#thanks")).to_have_text("Saved. Thank you!")

    with database.connect() as conn:
        assert Rating.DOWN is current_rating(conn, first.id, visitor_of(chat)).rating


def test_a_thumb_for_an_answer_that_is_gone_is_refused_in_one_line(chat, database, stack):
    """Deleted in another window; the page must not say thanks."""
    turn = seed(chat, database, stack)
    with database.connect() as conn:
        conn.execute(
            "UPDATE conversations SET deleted_at = now() WHERE id = %s", (turn.conversation_id,)
        )

    thumb(chat, "Like").click()

    expect(chat.locator(".toast-body")).to_contain_text("No turn")
    expect(chat.locator("#thanks")).to_be_hidden()


def test_stop_keeps_what_was_written(page, held_url, database):
    """And gives the composer back."""
    page.set_default_timeout(WAIT_MS)
    page.goto(held_url)
    ask(page, QUESTION)
    begins_to_answer(page)

    page.locator("#composer .stop-button").click()

    expect(page.locator("#chat")).to_contain_text("Stopped here.")
    expect(page.locator("#composer .submit-button")).to_be_visible()
    assert TurnStatus.STOPPED is only_turn(page, database).status


def test_a_question_asked_before_the_page_has_loaded_stays(page, held_url):
    """Quick fingers on a slow line."""
    page.set_default_timeout(WAIT_MS)
    held = []  # the page's first request asks for what its address names
    page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    page.goto(held_url)
    expect(page.locator("#chat .example").first).to_be_visible()
    ask(page, QUESTION)
    begins_to_answer(page)

    with page.expect_response("**/queue/join*"):
        held[0].continue_()
    page.locator("#composer .stop-button").click()

    expect(page.locator("#chat")).to_contain_text("Stopped here.")
    expect(page.locator("#chat .user-row")).to_have_text(QUESTION)


def begins_to_answer(page):
    """Wait for the first words."""
    answer = page.locator("#chat .bot-row")
    expect(answer).to_be_visible()
    expect(answer).not_to_contain_text("Looking it up")


def only_turn(page, database):
    with database.connect() as conn:
        (talk,) = list_conversations(conn, visitor_of(page))
        (turn,) = load_turns(conn, talk.id, visitor_of(page))
    return turn


def test_leaving_in_mid_answer_keeps_what_was_written(page, held_url, database):
    """A closed tab must neither cost the model nor lose the question."""
    page.set_default_timeout(WAIT_MS)
    page.goto(held_url)
    ask(page, QUESTION)
    begins_to_answer(page)

    page.get_by_role("button", name="New conversation").click()

    expect(page.locator("#chat .example").first).to_be_visible()
    page.get_by_text(QUESTION).first.click()
    expect(page.locator("#chat")).to_contain_text("Stopped here.")
    assert TurnStatus.STOPPED is only_turn(page, database).status


def test_try_again_replaces_the_answer_and_keeps_the_old_one(chat, database, stack):
    """The old one and its thumb are what the bot learns from."""
    old = seed(chat, database, stack, question=QUESTION, answer="No idea.")

    chat.get_by_role("button", name="Try again").click()

    expect(chat.locator("#chat")).not_to_contain_text("No idea.")
    answered(chat)
    assert old.id != only_turn(chat, database).id
    with database.connect() as conn:
        assert get_turn(conn, old.id).superseded_at is not None


def test_the_last_question_can_be_edited(chat, database, stack):
    """A typing error should not stand in the way."""
    seed(chat, database, stack, question="How do I wsh a pan?")
    chat.get_by_role("button", name="Edit question").click()
    expect(chat.locator("#composer textarea")).to_have_value("How do I wsh a pan?")

    ask(chat, QUESTION)

    expect(chat.locator("#chat .user-row")).to_have_text(QUESTION)
    answered(chat)
    assert QUESTION == only_turn(chat, database).question


def test_conversations_can_be_left_renamed_and_deleted(chat, database, stack):
    """The list is the customer's own."""
    seed(chat, database, stack, question="About pans")
    seed(chat, database, stack, question="About knives")
    expect(chat.locator("#talks label")).to_have_text(["About knives", "About pans"])

    chat.get_by_text("About pans").click()
    expect(chat.locator("#chat .user-row")).to_have_text("About pans")
    chat.get_by_role("button", name="Rename").click()
    chat.get_by_label("New title").fill("My <b>pan</b>")
    chat.get_by_label("New title").press("Enter")
    expect(chat.locator("#talks label").last).to_have_text("My <b>pan</b>")

    chat.locator("#delete").click()
    chat.locator("#really").click()
    expect(chat.locator("#talks label")).to_have_text(["About knives"])
    expect(chat.locator("#chat .example").first).to_be_visible()


def test_nothing_that_was_typed_or_cited_runs(chat, database, stack):
    """Questions, answers and articles are written by strangers."""
    hostile = make_passage(title=HOSTILE, heading=HOSTILE, body=HOSTILE)
    turn = seed(
        chat, database, stack, question=HOSTILE, answer=f"{HOSTILE} [1]", passages=[hostile]
    )

    expect(chat.locator("#chat .user-row")).to_have_text(HOSTILE)
    assert 0 == chat.locator("#chat .bot-row img").count()
    assert 0 == chat.get_by_role("link", name="l", exact=True).count()
    chat.goto(f"{stack.url}/turns/{turn.id}/passages/1")
    expect(chat.locator("#passage")).to_contain_text("<script>")
    assert chat.evaluate("window.ran") is None


def test_somebody_elses_conversation_opens_empty(chat, database, stack):
    """Its address may have been shared by mistake."""
    with database.connect() as conn:
        bens = make_turn(conn, owner_id=BEN, question="Ben's secret")

    chat.goto(f"{stack.url}/?c={bens.conversation_id}")

    expect(chat.locator("#chat .example").first).to_be_visible()
    assert "Ben's secret" not in chat.content()


@pytest.mark.parametrize(("typed", "said"), [(" ", "empty"), ("x" * 20_000, "20,000 characters")])
def test_a_message_that_can_not_be_answered_stays_in_the_composer(chat, typed, said):
    """Nobody should have to type it twice."""
    ask(chat, typed)

    expect(chat.locator(".toast-body")).to_contain_text(said)
    expect(chat.locator("#composer textarea")).to_have_value(typed)


def test_a_phone_shows_the_whole_page(browser, stack, database):
    """Most customers write from one; nothing may stick out or cover the chat."""
    with closing(browser.new_context(viewport={"width": 360, "height": 700})) as context:
        page = context.new_page()
        page.goto(stack.url)
        expect(page.locator("#chat .example").first).to_be_visible(timeout=WAIT_MS)
        seed(page, database, stack, answer="A_very_long_word" * 20)

        expect(page.locator("#sidebar")).not_to_have_class(re.compile(r"\bopen\b"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_is_fetched_from_elsewhere(page, stack):
    """The page works without the internet, and tells nobody who reads it."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(stack.url)
    expect(page.locator("#chat .example").first).to_be_visible(timeout=WAIT_MS)

    assert [] == [url for url in asked if not url.startswith((stack.url, "data:", "blob:"))]
