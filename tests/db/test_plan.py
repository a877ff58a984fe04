"""One question has one prompt, whoever asks: the chat, the gate, a bench or an import."""

import json
from contextlib import aclosing

import pytest

from answering.plan import Planner
from bench.model_answers import Asker
from bot.chat.service import ChatService, Started
from core.errors import ConfigurationError
from core.settings import Settings
from core.turns import get_turn
from core.vllm import Completion
from retrieval.ingest import ingest
from tests.builders import ANNA, make_turn
from training.gate.replay import golden_questions
from training.import_feedback import import_feedback

QUESTION = "What is the fee for a return label?"
UNANSWERABLE = "Which football team won the championship back in nineteen eighty?"
FOLLOW_UP = "And how much is it?"
HISTORY = [
    {"role": "user", "content": "Do you send return labels?"},
    {"role": "assistant", "content": "Yes. [1]"},
]
GUIDELINES = "You are the assistant of Acme.\n"


class Silent:
    """Stands for the model server; keeps what it was sent."""

    def __init__(self):
        self.sent = []

    def generate(self, model, messages, **_):
        self.sent.append(messages)
        return Completion("Yes.", 9, 9)


@pytest.fixture
def settings(tmp_path, dsn):
    """A company with guidelines and one golden question; at the model's port nobody listens."""
    (tmp_path / "guidelines.md").write_text(GUIDELINES)
    golden = {"question": QUESTION, "facts": ["$4.95"], "article": "returns.md"}
    (tmp_path / "golden.jsonl").write_text(json.dumps(golden))
    return Settings(home=tmp_path, company=tmp_path, database_url=dsn, _env_file=None)


@pytest.fixture
def planner(tmp_path, settings, database, embedder):
    """A planner over one article."""
    article = tmp_path / "returns.md"
    article.write_text("# Returns\n\n## Labels\n\nThe fee for a return label is $4.95.")
    ingest(database, embedder, [article])
    return Planner.of(settings, database)


async def stored_by_chat(settings, planner, question, conversation_id=None):
    """The prompt of a turn as the chat stored it."""
    chat = ChatService(planner)
    async with aclosing(chat.answer(ANNA, conversation_id, question)) as events:
        started = await anext(events)
    await chat.close()
    assert isinstance(started, Started)
    with planner.db.connect() as conn:
        return get_turn(conn, started.turn_id).messages


def stored_by_import(settings, planner, tmp_path, question):
    """The prompt of a turn that came from a file without prompts."""
    path = tmp_path / "feedback.jsonl"
    path.write_text(json.dumps({"question": question, "answer": "$5.", "rating": "down"}))
    report = import_feedback(planner.db, settings, path)
    assert (1, []) == (report.n_imported, report.problems)
    with planner.db.connect() as conn:
        sql = "SELECT messages FROM turns WHERE base_model = 'imported'"
        [messages] = conn.execute(sql).fetchone()
    return messages


async def test_a_question_has_one_prompt_whoever_asks(settings, planner, tmp_path):
    """What is measured and learned from must be what customers' questions become."""
    vllm = Silent()
    Asker(settings, planner.db, vllm).ask(QUESTION)
    [golden], problems = golden_questions(planner.db, settings)

    planned = planner.plan(QUESTION)
    chats = await stored_by_chat(settings, planner, QUESTION)

    assert "Returns > Labels" in planned.messages[0]["content"]
    assert (planned.messages, []) == (chats, problems)
    assert [planned.messages] == vllm.sent
    assert planned.messages == golden.messages
    assert planned.messages == stored_by_import(settings, planner, tmp_path, QUESTION)


async def test_a_follow_up_has_one_prompt_whoever_asks(settings, planner):
    """Its search is led by what was said before, and the conversation stands in the prompt."""
    vllm = Silent()
    Asker(settings, planner.db, vllm).ask(FOLLOW_UP, HISTORY)
    with planner.db.connect() as conn:
        said = make_turn(conn, question=HISTORY[0]["content"], answer=HISTORY[1]["content"])

    planned = planner.plan(FOLLOW_UP, HISTORY)

    assert HISTORY == planned.messages[1:-1]
    assert [planned.messages] == vllm.sent
    chats = await stored_by_chat(settings, planner, FOLLOW_UP, said.conversation_id)
    assert planned.messages == chats


async def test_an_unanswerable_question_has_one_prompt_and_no_model_is_asked(
    settings, planner, tmp_path
):
    """The stored prompt says that no passage was found."""
    vllm = Silent()
    reply = Asker(settings, planner.db, vllm).ask(UNANSWERABLE)
    (settings.company / "golden.jsonl").write_text(
        json.dumps({"question": UNANSWERABLE, "facts": ["x"], "article": "returns.md"})
    )
    [golden], _ = golden_questions(planner.db, settings)

    planned = planner.plan(UNANSWERABLE)
    chats = await stored_by_chat(settings, planner, UNANSWERABLE)

    assert (False, [], []) == (planned.asks_model, planned.passages, vllm.sent)
    assert golden.messages is None
    assert planned.messages == reply.plan.messages
    assert planned.messages == chats
    assert planned.messages == stored_by_import(settings, planner, tmp_path, UNANSWERABLE)


def test_a_greeting_is_left_to_the_model(planner):
    """It deserves an answer and needs no source."""
    assert planner.plan("Hello there!").asks_model


def test_edited_guidelines_count_from_the_next_question(settings, planner):
    """The admin sees at once what an edit does."""
    (settings.company / "guidelines.md").write_text("Be very brief.")

    assert planner.plan(QUESTION).messages[0]["content"].startswith("Be very brief.\n")


def test_guidelines_that_cannot_be_read_are_named(settings, planner):
    """A prompt without them would answer in nobody's name."""
    (settings.company / "guidelines.md").unlink()

    with pytest.raises(ConfigurationError, match=r"guidelines\.md.*RATCHET_COMPANY"):
        planner.plan(QUESTION)
