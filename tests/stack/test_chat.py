"""A chat turn on the real model server: streamed, stored, stopped, cut off, swapped."""

import asyncio
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from answering.plan import Planner
from answering.tokens import get_tokenizer
from bot.chat.service import ChatService, Finished, Started, Token
from core.db import Database
from core.errors import ModelUnavailable
from core.learning import deploy, insert_adapter, next_adapter_name
from core.settings import Settings
from core.turns import get_turn, streaming_adapters
from core.types import DeploymentKind, TurnStatus
from core.vllm import VllmClient
from retrieval.embed import get_embedder
from retrieval.ingest import ingest
from tests.builders import ANNA
from tests.wire import Wire

HOLD_AFTER = 1500  # bytes: the headers and the first few tokens
QUESTION = "What is the fee for a return label?"


@pytest.fixture
def knowledge(tmp_path, database):
    """One article in the database."""
    article = tmp_path / "returns.md"
    article.write_text("# Returns\n\nThe fee for a return label is $4.95.")
    ingest(database, get_embedder(Settings(_env_file=None)), [article])
    return database


@asynccontextmanager
async def open_chat(settings, knowledge):
    """A chat whose connections are closed at the end."""
    chat = ChatService(Planner.of(settings, knowledge))
    yield chat
    await chat.close()


@pytest.fixture
async def chat(stack_settings, knowledge):
    """A chat on that article and the session's vLLM."""
    async with open_chat(stack_settings, knowledge) as opened:
        yield opened


@pytest.fixture
async def talkative(stack_settings, knowledge):
    """A chat whose answers stand still in the middle: the wire carries a few tokens, then waits."""
    wire = Wire(stack_settings.vllm_base_url, hold_after=HOLD_AFTER)
    async with await asyncio.start_server(wire.connect, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = stack_settings.model_copy(update={"vllm_url": url})
        async with open_chat(settings, knowledge) as opened:
            opened.wire = wire
            yield opened
        wire.cut()


async def events_of(chat, question=QUESTION):
    return [event async for event in chat.answer(ANNA, None, question)]


async def read_first_token(chat):
    """Ask, read up to the first token, and return the rest of the stream and the turn's id."""
    events = chat.answer(ANNA, None, QUESTION)
    async for event in events:
        if isinstance(event, Started):
            turn_id = event.turn_id
        if isinstance(event, Token):
            return events, turn_id
    raise AssertionError("no token came")


def stored(database: Database, turn_id):
    with database.connect() as conn:
        return get_turn(conn, turn_id)


def n_running(vllm):
    """How many requests the server works on now."""
    lines = vllm._http.get("/metrics").text.splitlines()
    running = [line for line in lines if line.startswith("vllm:num_requests_running")]
    return sum(float(line.split()[-1]) for line in running)


async def test_an_answer_is_streamed_and_stored_as_streamed(chat, database):
    """What is rated and learned from must be what was read."""
    started, *tokens, finished = await events_of(chat)

    assert isinstance(finished, Finished)
    turn = stored(database, started.turn_id)
    assert turn == finished.turn
    assert turn.answer == "".join(token.text for token in tokens)
    assert TurnStatus.COMPLETE is turn.status
    assert 0 < turn.first_token_ms <= turn.total_ms
    assert turn.retrieval_ms > 0


async def test_our_token_counts_agree_with_the_servers(chat, stack_settings):
    """The budget is kept with them; a drift would overflow the model."""
    *_, finished = await events_of(chat)

    count = get_tokenizer(stack_settings.model).count
    assert count(finished.turn.messages) == finished.turn.prompt_tokens


async def test_the_turn_is_stored_before_its_first_token(chat, database):
    """The adapter must count as in use, and the question must outlive a crash."""
    events = chat.answer(ANNA, None, QUESTION)

    started = await anext(events)

    assert TurnStatus.STREAMING is stored(database, started.turn_id).status
    await events.aclose()


async def test_closing_the_stream_stops_the_model_and_keeps_what_came(talkative, database, vllm):
    """A customer who leaves must not cost the others; what they read stays rateable."""
    events, turn_id = await read_first_token(talkative)

    await events.aclose()

    turn = stored(database, turn_id)
    assert (TurnStatus.STOPPED, True) == (turn.status, bool(turn.answer))
    assert turn.prompt_tokens > 0
    await becomes_idle(vllm)


async def becomes_idle(vllm):
    deadline = time.monotonic() + 3
    while await asyncio.to_thread(n_running, vllm):
        assert time.monotonic() < deadline, "the server still works on an answer nobody reads"


async def test_stop_ends_the_answer_for_the_one_who_asked(talkative, database, vllm):
    """The page's Stop: the stream ends by itself, with the partial answer stored."""
    events, turn_id = await read_first_token(talkative)
    turn = stored(database, turn_id)

    talkative.stop(ANNA, turn.conversation_id)
    rest = [event async for event in events]

    assert TurnStatus.STOPPED is rest[-1].turn.status
    await becomes_idle(vllm)


async def test_nobody_stops_somebody_elses_answer(chat, database):
    """Conversation ids are no secrets."""
    events, turn_id = await read_first_token(chat)
    turn = stored(database, turn_id)

    chat.stop(turn.id, turn.conversation_id)
    rest = [event async for event in events]

    assert TurnStatus.COMPLETE is rest[-1].turn.status


async def test_a_model_server_killed_in_mid_answer_is_said_within_two_seconds(talkative, database):
    """What came is kept, as failed; a wire that is cut looks to us like a killed server."""
    events, turn_id = await read_first_token(talkative)
    began = time.monotonic()

    talkative.wire.cut()
    with pytest.raises(ModelUnavailable, match="try again"):
        [event async for event in events]

    assert time.monotonic() - began < 2
    turn = stored(database, turn_id)
    assert (TurnStatus.FAILED, True) == (turn.status, bool(turn.answer))


def put_live(database, vllm, folder, *, load=True):
    """Make the adapter in `folder` live; unless told otherwise vLLM has it."""
    with database.connect() as conn:
        version, _ = next_adapter_name(conn)
        name = f"support-{uuid4().hex[:8]}"  # the server is shared by tests, the database is not
        insert_adapter(
            conn,
            name=name,
            version=version,
            run_id=None,
            path=str(folder),
            sha256="0" * 64,
            base_model=Settings(_env_file=None).model,
            rank=8,
        )
        deploy(conn, name, DeploymentKind.PROMOTE, "test", "")
    if load:
        vllm.load_adapter(name, str(folder))
    return name


async def test_the_live_adapter_answers_and_is_noted(chat, database, vllm, make_adapter):
    """Feedback must go to the one who gave the answer; while it writes it is in use."""
    name = put_live(database, vllm, make_adapter("one", seed=1))
    events = chat.answer(ANNA, None, QUESTION)

    started = await anext(events)
    with database.connect() as conn:
        in_use = streaming_adapters(conn)
    *_, finished = [event async for event in events]

    assert {name} == in_use
    assert (started.turn_id, name) == (finished.turn.id, finished.turn.adapter)


async def test_an_adapter_unloaded_under_an_answer_is_replaced_by_the_live_one(
    chat, database, vllm, make_adapter
):
    """A swap must not cost a single question."""
    put_live(database, vllm, make_adapter("gone", seed=2), load=False)
    events = chat.answer(ANNA, None, QUESTION)
    await anext(events)

    name = put_live(database, vllm, make_adapter("next", seed=3))
    *_, finished = [event async for event in events]

    assert (TurnStatus.COMPLETE, name) == (finished.turn.status, finished.turn.adapter)


async def test_an_adapter_that_vllm_lost_is_said_to_be_starting(chat, database, vllm, make_adapter):
    """After a restart vLLM is empty until the next reconcile; the base is not passed off as it."""
    put_live(database, vllm, make_adapter("lost", seed=4), load=False)

    with pytest.raises(ModelUnavailable, match="starting"):
        await events_of(chat)


async def test_many_customers_are_answered_at_once(chat):
    """One conversation must not wait for another."""
    answers = await asyncio.gather(*(events_of(chat) for _ in range(16)))

    assert {TurnStatus.COMPLETE} == {events[-1].turn.status for events in answers}


async def test_the_score_of_an_answer_falls_with_nonsense(vllm: VllmClient, chat):
    """The gate compares answers by it."""
    *_, finished = await events_of(chat)
    turn = finished.turn

    own = vllm.sequence_logprob("base", turn.messages, turn.answer)

    assert own > vllm.sequence_logprob("base", turn.messages, "zq xj kv wqq pfft zzz yyq")
