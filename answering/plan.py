"""The one place where a question and its conversation become a prompt; it stores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from time import perf_counter

from answering.prompt import build_messages, clean_question, is_small_talk
from answering.tokens import ModelTokenizer, get_tokenizer
from core.company import load_company
from core.db import Database
from core.errors import InvalidInput
from core.settings import Settings
from core.types import Message, Passage, Turn, TurnStatus
from retrieval.embed import Embedder, get_embedder
from retrieval.search import SearchOptions, search

MAX_QUESTION_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is to be answered: the exact messages, and the passages in them."""

    question: str  # as it is stored and sent
    messages: list[Message]
    passages: list[Passage]  # ranked as they are numbered in the messages
    asks_model: bool  # False: a real question found nothing; better no answer than an invented one
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
    company: Path  # its folder; an edit counts from the next question
    options: SearchOptions
    budget_tokens: int  # of the prompt: the model's length less the answer's

    @classmethod
    def of(cls, settings: Settings, db: Database) -> Planner:
        """Return the product's planner; its models take seconds to load, once in a process."""
        return cls(
            db,
            get_embedder(settings),
            get_tokenizer(settings.model),
            settings.company,
            SearchOptions.of(settings),
            settings.max_model_len - settings.max_answer_tokens,
        )

    def plan(
        self, question: str, history: Sequence[Message] = (), *, collection: str | None = None
    ) -> Plan:
        """
        Search with the question, led by its history where it leans on it, and build the prompt.

        Raises:
            InvalidInput: The question is empty or too long.
            ConfigurationError: The company's guidelines can't be read.
            DatabaseUnavailable: Postgres can't be reached.
        """
        asked = checked_question(question)
        options = replace(self.options, collection=collection or self.options.collection)
        searching_at = perf_counter()
        found = search(self.db, self.embedder, asked, options, history=history)
        retrieval_ms = (perf_counter() - searching_at) * 1000
        prompt = build_messages(
            load_company(self.company).guidelines,
            found,
            history,
            asked,
            budget_tokens=self.budget_tokens,
            count_tokens=self.tokenizer.count_text,
        )
        asks_model = bool(prompt.passages) or is_small_talk(asked)
        return Plan(asked, prompt.messages, prompt.passages, asks_model, retrieval_ms)


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
