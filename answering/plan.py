"""The one place where a question and its conversation become a prompt; it stores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import perf_counter

from answering.prompt import build_messages, clean_question, is_small_talk
from answering.tokens import ModelTokenizer, get_tokenizer
from core.company import load_company
from core.db import Database
from core.errors import InvalidInput
from core.settings import Settings
from core.types import Message, Passage, Turn, TurnStatus
from retrieval.adoption import current_options
from retrieval.embed import Embedder, get_embedder
from retrieval.options import Scope
from retrieval.search import Found, search

MAX_QUESTION_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is to be answered: the exact messages, and the passages in them."""

    question: str  # as it is stored and sent
    messages: list[Message]
    passages: list[Passage]  # ranked as they are numbered in the messages
    asks_model: bool  # False: a real question found nothing; better no answer than an invented one
    found: Found  # what the search says for it, shown to the model or not
    retrieval_ms: float

    @property
    def articles(self) -> list[str]:
        """The file name of each passage's article, in the order of their numbers."""
        return [PurePosixPath(passage.uri).name for passage in self.passages]


@dataclass(frozen=True, slots=True)
class Planner:
    """
    Makes prompts for the chat, the gate, imports and benches alike.

    Its method blocks and may be called from several threads; an event loop calls it in one.
    """

    db: Database
    embedder: Embedder
    tokenizer: ModelTokenizer
    settings: Settings

    @classmethod
    def of(cls, settings: Settings, db: Database) -> Planner:
        """Return the product's planner; its models take seconds to load, once in a process."""
        return cls(db, get_embedder(settings), get_tokenizer(settings.model), settings)

    def plan(
        self, question: str, history: Sequence[Message] = (), scope: Scope | None = None
    ) -> Plan:
        """
        Search with the question, led by its history where it leans on it, and build the prompt.

        `scope` is what the asker may look through: a visitor's, when none is given.

        Raises:
            InvalidInput: The question is empty or too long.
            ConfigurationError: The company's guidelines can't be read.
            DatabaseUnavailable: Postgres can't be reached.
        """
        settings, asked = self.settings, checked_question(question)
        searching_at = perf_counter()
        with self.db.connect() as conn:
            options = current_options(conn, settings)
        asker = scope or Scope.of(settings)
        found = search(self.db, self.embedder, asked, options, asker, history=history)
        retrieval_ms = (perf_counter() - searching_at) * 1000
        prompt = build_messages(
            load_company(settings.company).guidelines,
            found.passages if found.relevant else [],
            history,
            asked,
            budget_tokens=settings.max_model_len - settings.max_answer_tokens,
            count_tokens=self.tokenizer.count_text,
        )
        asks_model = bool(prompt.passages) or is_small_talk(asked)
        return Plan(asked, prompt.messages, prompt.passages, asks_model, found, retrieval_ms)


def checked_question(question: str) -> str:
    """
    Return the question as it will be stored and sent.

    Raises:
        InvalidInput: It is empty or longer than 8,000 characters.
    """
    if len(question) > MAX_QUESTION_CHARS:
        raise InvalidInput(
            f"the message has {len(question):,} characters; please keep it under "
            f"{MAX_QUESTION_CHARS:,}"
        )
    return clean_question(question)


def history_of(turns: Iterable[Turn]) -> list[Message]:
    """Return what was said in these turns; answers that failed are left out."""
    messages: list[Message] = []
    for turn in turns:
        if turn.answer and turn.status in (TurnStatus.COMPLETE, TurnStatus.STOPPED):
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
    return messages
