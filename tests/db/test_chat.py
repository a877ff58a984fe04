"""A chat turn without the model server: what is refused, what is said, what stays stored."""

import time
from contextlib import aclosing, contextmanager
from uuid import uuid4

import psycopg
import pytest

from answering.plan import Planner
from bot.chat.service import ChatService, Finished, Started, Token
from bot.chat.view import load_shown
from core.conversations import create_conversation, list_conversations
from core.db import Database
from core.errors import DatabaseUnavailable, InvalidInput, ModelUnavailable, NotFound
from core.feedback import add_correction
from core.settings import NOTHING_FOUND, Settings
from core.turns import get_turn, load_turns, turn_passages
from core.types import EVERYONE, TurnStatus
from retrieval.ingest import ingest
from retrieval.options import Scope
from tests.builders import ANNA, BEN, make_rating, make_turn

UNANSWERABLE = "Which football team won the championship back in nineteen eighty?"
ANSWERABLE = "What is the fee for a return label?"


@pytest.fixture
async def chat(tmp_path, dsn, database, embedder):
    """A chat on one article; at the model's port nobody listens."""
    article = tmp_path / "returns.md"
    article.write_text("# Returns\n\nThe fee for a return label is $4.95.")
    ingest(database, embedder, [article])
    settings = Settings(home=tmp_path, database_url=dsn, _env_file=None)
    opened = ChatService(Planner.of(settings, database))
    yield opened
    await opened.close()


async def events_of(chat, question, *, owner_id=ANNA, conversation_id=None, position=None):
    events = chat.answer(owner_id, conversation_id, question, position=position)
    return [event async for event in events]


def only_turn(database, owner_id=ANNA):
    with database.connect() as conn:
        (talk,) = list_conversations(conn, owner_id)
        (turn,) = load_turns(conn, talk.id, owner_id)
        return get_turn(conn, turn.id)


async def test_an_asker_finds_what_is_for_their_audience(chat, tmp_path, database, embedder):
    """What only staff may read is told to nobody else, whoever else asks the same chat."""
    article = tmp_path / "discount.md"
    article.write_text("# Staff discount\n\nThe staff discount on knives is 40 percent.")
    ingest(database, embedder, [article], audience="staff")
    question = "How much is the staff discount on knives?"
    staff = Scope(audiences=(EVERYONE, "staff"))

    shown = []
    for scope in (Scope(), staff):
        async with aclosing(chat.answer(ANNA, None, question, scope=scope)) as events:
            shown.append([passage.title for passage in (await anext(events)).passages])

    assert ["Staff discount"] == shown[1]
    assert "Staff discount" not in shown[0]


async def test_with_nothing_relevant_the_bot_says_so(chat, database):
    """An invented answer costs more than none; the model is not even asked."""
    started, token, finished = await events_of(chat, UNANSWERABLE)

    assert isinstance(started, Started)
    assert Token(NOTHING_FOUND) == token
    assert isinstance(finished, Finished)
    stored = only_turn(database)
    assert finished.turn == stored
    assert (NOTHING_FOUND, TurnStatus.COMPLETE, 0) == (
        stored.answer,
        stored.status,
        stored.completion_tokens,
    )
    assert UNANSWERABLE == stored.messages[-1]["content"]


async def test_without_the_model_a_person_is_told_within_two_seconds(chat, database):
    """And the question stays stored, as failed, with what would have been sent."""
    began = time.monotonic()

    with pytest.raises(ModelUnavailable, match="can't be reached"):
        await events_of(chat, ANSWERABLE)

    assert time.monotonic() - began < 2
    turn = only_turn(database)
    assert (TurnStatus.FAILED, ANSWERABLE) == (turn.status, turn.question)
    with database.connect() as conn:
        (passage,) = turn_passages(conn, turn.id)
    assert passage.body in turn.messages[0]["content"]


async def test_without_the_database_nothing_is_begun(tmp_path):
    """An answer that could not be stored could not be rated."""
    settings = Settings(home=tmp_path, database_url=f"host={tmp_path}", _env_file=None)
    away = Database(settings.dsn).open()
    chat = ChatService(Planner.of(settings, away))
    began = time.monotonic()

    with pytest.raises(DatabaseUnavailable):
        await events_of(chat, ANSWERABLE)

    assert time.monotonic() - began < 2.5
    away.close()


async def test_a_database_lost_in_mid_answer_is_said_within_two_seconds(chat, database, dsn):
    """The reader must not believe that the answer is kept; the question is."""
    events = chat.answer(ANNA, None, UNANSWERABLE)
    started = await anext(events)
    database.close()
    began = time.monotonic()

    with pytest.raises(DatabaseUnavailable):
        [event async for event in events]

    assert time.monotonic() - began < 2
    with psycopg.connect(dsn) as conn:
        assert UNANSWERABLE == get_turn(conn, started.turn_id).question


@pytest.mark.parametrize("question", ["", "  \n\t ", "\0", "\0 \0"])
async def test_an_empty_message_is_refused_in_one_line(chat, database, question):
    """And leaves no empty conversation behind."""
    with pytest.raises(InvalidInput, match="empty"):
        await events_of(chat, question)

    with database.connect() as conn:
        assert [] == list_conversations(conn, ANNA)


async def test_a_megabyte_is_refused_in_one_line(chat):
    """The limit is in the line, so that the writer knows what fits."""
    with pytest.raises(InvalidInput, match=r"1,000,000 characters.*8,000"):
        await events_of(chat, "x" * 1_000_000)


async def test_eight_thousand_characters_that_exceed_the_model_are_refused(chat):
    """Emoji take several tokens each; vLLM would refuse them later and less clearly."""
    with pytest.raises(InvalidInput, match="too long"):
        await events_of(chat, "🙂" * 7_999)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Which foot\0ball team won it back then?", "Which football team won it back then?"),
        ("من فاز ببطولة كرة القدم في ذلك العام؟", "من فاز ببطولة كرة القدم في ذلك العام؟"),
        ("🏈🏈 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 🏈", "🏈🏈 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 🏈"),
        ("one two three four \ud800 five", "one two three four ? five"),
    ],
    ids=["nul", "rtl", "emoji", "surrogate"],
)
async def test_unusual_messages_are_answered_and_stored(chat, typed, stored):
    """Postgres refuses NULs and lone surrogates; the customer should not notice."""
    *_, finished = await events_of(chat, typed)

    assert stored == finished.turn.question


async def test_a_conversation_is_named_after_its_first_question(chat, database):
    """The list is read at a glance."""
    await events_of(chat, f"{UNANSWERABLE}\nI really want to know that, it matters to me.")

    with database.connect() as conn:
        (talk,) = list_conversations(conn, ANNA)
    assert "Which football team won the championship back in nineteen e…" == talk.title


async def test_nobody_writes_into_somebody_elses_conversation(chat, database):
    """Conversation ids are no secrets."""
    with database.connect() as conn:
        bens = make_turn(conn, owner_id=BEN).conversation_id

    with pytest.raises(NotFound):
        await events_of(chat, UNANSWERABLE, conversation_id=bens)
    with pytest.raises(NotFound):
        await events_of(chat, UNANSWERABLE, conversation_id=uuid4())


async def test_asking_again_supersedes_the_answer_and_keeps_it(chat, database):
    """Both stay stored: liked over disliked answers to the same messages teach the most."""
    *_, first = await events_of(chat, UNANSWERABLE)
    talk = first.turn.conversation_id

    *_, second = await events_of(chat, UNANSWERABLE, conversation_id=talk, position=0)

    assert second.turn == only_turn(database)
    with database.connect() as conn:
        assert get_turn(conn, first.turn.id).superseded_at is not None
    assert first.turn.messages == second.turn.messages


async def test_a_position_beyond_the_end_is_refused(chat):
    """A hole in a conversation could never be filled."""
    *_, first = await events_of(chat, UNANSWERABLE)

    with pytest.raises(InvalidInput, match="no question 6"):
        await events_of(chat, UNANSWERABLE, conversation_id=first.turn.conversation_id, position=5)


async def test_the_conversation_so_far_is_sent_without_what_failed(chat, database):
    """Half an answer would be taken for something the bot stands by."""
    with database.connect() as conn:
        said = make_turn(conn, question="Hello?", answer="Hello.")
        make_turn(
            conn,
            conversation_id=said.conversation_id,
            position=1,
            answer="Broken o",
            status=TurnStatus.FAILED,
        )

    *_, finished = await events_of(chat, UNANSWERABLE, conversation_id=said.conversation_id)

    contents = [message["content"] for message in finished.turn.messages[1:]]
    assert ["Hello?", "Hello.", UNANSWERABLE] == contents


class ListeningDatabase(Database):
    """Keeps the text of every query."""

    def __init__(self, dsn):
        super().__init__(dsn)
        self.queries = []

    @contextmanager
    def connect(self):
        queries = self.queries

        class Cursor(psycopg.Cursor):
            def execute(self, query, *args, **options):
                queries.append(query)
                return super().execute(query, *args, **options)

        with super().connect() as conn:
            conn.cursor_factory = Cursor
            yield conn


async def queries_of_a_turn(settings, dsn, n_before):
    """Ask after `n_before` disliked and corrected answers, drawing what the page draws."""
    db = ListeningDatabase(dsn).open()
    with db.connect() as conn:
        talk = create_conversation(conn, ANNA)
        for position in range(n_before):
            turn = make_turn(conn, conversation_id=talk.id, position=position)
            make_rating(conn, turn)
            add_correction(conn, turn.id, ANNA, f"Within {position} days.", by_admin=False)
    db.queries.clear()
    chat = ChatService(Planner.of(settings, db))
    started, _, finished = await events_of(chat, UNANSWERABLE, conversation_id=talk.id)
    await chat.close()
    with db.connect() as conn:
        load_shown(conn, started.before, ANNA)
        shown = load_shown(conn, [*started.before, finished.turn], ANNA)
        stored = load_turns(conn, talk.id, ANNA)
    db.close()
    corrections = [each.correction for each in shown[:-1]]
    assert [f"Within {position} days." for position in range(n_before)] == corrections
    assert [turn.id for turn in stored] == [each.turn.id for each in shown]
    return db.queries[:-2]  # without the check


@pytest.mark.usefixtures("chat")
async def test_a_turn_reads_its_conversation_once_however_long_it_is(settings, dsn):
    """Every customer's question costs this; stored prompts are far longer than the answers."""
    short = await queries_of_a_turn(settings, dsn, 1)
    long = await queries_of_a_turn(settings, dsn, 9)

    assert len(short) == len(long)
    reads = [query for query in long if "FROM turns t" in query and "t.answer" in query]
    assert 1 == len(reads)
    assert "messages" not in reads[0]
