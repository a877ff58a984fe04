"""Questions by the dozen: nobody else waits for them, and nobody's answer is written in vain."""

import time
from contextlib import closing
from uuid import UUID

import pytest

from core.db import Database
from tests.attack.conftest import Visitor, eventually
from tests.web import web_that_holds

SEND = 0  # the number of the function that takes a question; test_policy.py knows it too
QUESTION = "How should I wash my cast iron pan?"


@pytest.fixture(scope="module")
def held(stack):
    """A web app on the stack whose answers stand still in the middle, and its database."""
    with web_that_holds(stack) as running:
        yield running.url, running.database


@pytest.fixture
def newcomer():
    """A function that opens the page at an address as a new visitor."""
    opened = []

    def come(url):
        client = Visitor(base_url=url, timeout=60)
        opened.append(client)
        client.get("/")
        return client

    yield come
    for client in opened:
        client.close()


def turns_of(database, visitor_id: UUID):
    """How a visitor's answers stand."""
    sql = """
        SELECT t.status FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE c.owner_id = %s ORDER BY t.created_at
    """
    with database.connect() as conn:
        return [row[0] for row in conn.execute(sql, (visitor_id,))]


def test_calls_that_nobody_listens_to_make_nobody_wait(stack, newcomer):
    """Sixty-six of them made the next visitor wait a minute, and were written to the end."""
    attacker, customer = newcomer(stack.url), newcomer(stack.url)
    for n in range(66):
        attacker.call(SEND, QUESTION, "", "", session=f"w{n}")

    start = time.monotonic()
    customer.call(SEND, QUESTION, "", "")
    told = customer.results()
    took_s = time.monotonic() - start

    assert "process_completed" == told[-2]["msg"]
    assert "answer" in str(told)
    assert took_s < 10
    with closing(Database(stack.settings.dsn).open()) as database:
        assert [] == turns_of(database, attacker.id)


def test_a_visitor_has_two_answers_at_a_time(held, newcomer):
    """The third is told so at once."""
    url, database = held
    visitor = newcomer(url)
    streams = []
    for n in range(2):
        visitor.call(SEND, QUESTION, "", "", session=f"w{n}")
        stream = visitor.stream("GET", "/gradio_api/queue/data", params={"session_hash": f"w{n}"})
        stream.__enter__()
        streams.append(stream)
    assert eventually(lambda: turns_of(database, visitor.id) == ["streaming"] * 2, 20)

    visitor.call(SEND, QUESTION, "", "", session="third")
    told = visitor.results(session="third")

    assert "still being written" in str(told)
    assert 2 == len(turns_of(database, visitor.id))
    for stream in streams:
        stream.__exit__(None, None, None)
    assert eventually(lambda: turns_of(database, visitor.id) == ["stopped"] * 2)


def test_an_answer_stops_within_two_seconds_when_its_reader_leaves(held, newcomer):
    """A closed window goes on costing the others nothing."""
    url, database = held
    visitor = newcomer(url)
    visitor.call(SEND, QUESTION, "", "")
    params = {"session_hash": "abc"}
    with visitor.stream("GET", "/gradio_api/queue/data", params=params):
        assert eventually(lambda: turns_of(database, visitor.id) == ["streaming"], 20)
    left_at = time.monotonic()

    assert eventually(lambda: turns_of(database, visitor.id) == ["stopped"])
    assert time.monotonic() - left_at < 2.5


def test_too_many_questions_are_refused_with_the_time_to_wait(stack, newcomer):
    """A clear line instead of an hour in a queue."""
    visitor = newcomer(stack.url)
    said = ""
    for _ in range(25):
        visitor.call(SEND, "", "", "")
        said = str(visitor.results())

    assert "too many questions" in said
    assert "try again in" in said
