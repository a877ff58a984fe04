"""Who may do what, and what each handler of a page does before anything else."""

import gradio as gr
import pytest
from gradio.helpers import special_args

from bot.web.handlers import handler, permission_of, stream_handler
from bot.web.people import person_of
from core.errors import InvalidInput, NotAllowed
from core.people import PERMISSIONS, Permission, Role
from tests.builders import ANNA, make_request


class Page:
    """A page with one handler of each kind; `done` tells what they did."""

    def __init__(self):
        self.done = []

    def tell_problem(self, problem, words):
        return {"line": str(problem), "words": words}

    @handler(Permission.REVIEW)
    def note(self, person, words: str):
        self.done.append((person.id, words))
        return {"shown": words}

    @handler(Permission.ASK)
    def look(self, person, clicked: gr.SelectData, words: str, request: gr.Request):
        return {"shown": (clicked, words, request)}

    @handler(Permission.ASK)
    def fail(self, person, words: str):
        raise InvalidInput("the <note> is too long")

    @handler(Permission.REVIEW, on_problem=tell_problem)
    def poll(self, person, words: str):
        raise InvalidInput("the note is too long")

    @stream_handler(Permission.ASK)
    async def count(self, person, up_to: str):
        for n in range(int(up_to)):
            yield {"n": n}
        raise InvalidInput("that is all there is")


@pytest.fixture
def page():
    return Page()


def test_a_handler_is_given_who_calls(page):
    """Rows name who wrote them; nothing that a browser sends can choose the name."""
    shown = page.note("hello", make_request(Role.ADMIN))

    assert {"shown": "hello"} == shown
    assert [(ANNA, "hello")] == page.done


def test_who_lacks_the_permission_gets_one_line_and_nothing_is_done(page):
    """Gradio runs a private function for any client that knows its number."""
    with pytest.raises(gr.Error, match="You may not review answers; sign in"):
        page.note("hello", make_request(Role.VISITOR))

    assert [] == page.done


def test_who_sent_no_cookie_gets_one_line(page):
    """The guard lets no such call through; a handler does not rely on it."""
    with pytest.raises(gr.Error, match="allow cookies"):
        page.note("hello", make_request(None))


def test_an_expected_error_is_one_line_and_the_page_stays(page):
    """What somebody was writing must not be lost to a mistake in it."""
    with pytest.warns(UserWarning, match="The &lt;note&gt; is too long."):  # a toast
        shown = page.fail("hello", make_request(Role.VISITOR))

    assert gr.skip() == shown


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VISITOR])
def test_a_page_that_polls_says_it_in_a_line_of_its_own(page, role):
    """A toast at every tick would bury the page, a refusal's as well."""
    shown = page.poll("hello", make_request(role))

    assert {"line", "words"} == set(shown)
    assert "hello" == shown["words"]


async def test_a_stream_shows_what_came_before_the_error(page):
    """Half an answer is worth reading."""
    with pytest.warns(UserWarning, match="That is all there is."):
        shown = [update async for update in page.count("2", make_request(Role.VISITOR))]

    assert [{"n": 0}, {"n": 1}, gr.skip()] == shown


async def test_a_stream_refuses_before_its_first_update(page):
    """An answer costs as soon as it begins."""
    with pytest.raises(gr.Error, match="sign in"):
        await anext(page.count("2", make_request(frozenset())))


def test_gradio_gives_each_handler_the_request(page):
    """It reads the signature at run time: without the request nobody would be let in."""
    request = make_request(Role.VISITOR)
    clicked = gr.EventData(None, {"index": 0, "value": "x"})

    assert ["a", request] == special_args(page.note, ["a"], request)[0]
    event, words, given = special_args(page.look, ["a"], request, clicked)[0]
    assert (gr.SelectData, "a", request) == (type(event), words, given)


def test_a_handler_names_its_permission(page):
    """The web app does not start with a function that names none."""
    assert Permission.REVIEW is permission_of(page.note)
    assert Permission.ASK is permission_of(page.count)
    assert permission_of(page.tell_problem) is None


def test_visitors_ask_and_rate_and_nothing_more():
    """Whoever opens the page is one; an admin's right among theirs would be everybody's."""
    assert {Permission.ASK, Permission.RATE} == PERMISSIONS[Role.VISITOR]
    assert set(Role) == set(PERMISSIONS)


def test_a_person_with_several_roles_may_what_each_permits():
    """An agent who also buys here is one person."""
    person = person_of(make_request({Role.CUSTOMER, Role.AGENT}))

    assert person.may(Permission.ASK)
    assert person.may(Permission.REVIEW)
    with pytest.raises(NotAllowed, match="you may not train adapters"):
        person.require(Permission.TRAIN)
