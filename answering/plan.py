"""Builds the messages that the chat would send for a question now, for the gate and imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from answering.prompt import build_messages, is_small_talk
from core.db import Database
from core.settings import Settings
from core.types import Message, Passage
from retrieval.adoption import current_options
from retrieval.embed import get_embedder
from retrieval.options import Scope
from retrieval.search import search


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent; `messages` is None when nothing relevant is found and no model is asked."""

    messages: list[Message] | None
    passages: Sequence[Passage]


class PromptBuilder:
    """Call it with a question. What takes seconds to load is loaded at the first call."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db, self._settings = db, settings
        self._count_tokens: Callable[[str], int] | None = None

    def __call__(self, question: str) -> Prompt:
        """
        Search, then build the prompt from guidelines and passages.

        Raises:
            DatabaseUnavailable: Postgres can't be reached.
        """
        settings = self._settings
        with self._db.connect() as conn:
            options = current_options(conn, settings)
        embedder, scope = get_embedder(settings), Scope.of(settings)
        searched = search(self._db, embedder, question, options, scope)
        found = searched.passages if searched.relevant else []
        if not found and not is_small_talk(question):
            return Prompt(None, [])
        built = build_messages(
            (settings.company / "guidelines.md").read_text(encoding="utf-8"),
            found,
            [],
            question,
            budget_tokens=settings.max_model_len - settings.max_answer_tokens,
            count_tokens=self._counter(),
        )
        return Prompt(built.messages, built.passages)

    def _counter(self) -> Callable[[str], int]:
        if self._count_tokens is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self._settings.model)
            self._count_tokens = lambda text: len(tokenizer.encode(text, add_special_tokens=False))
        return self._count_tokens
