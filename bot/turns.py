"""A turn's life in the database: opened with its prompt, closed with its answer."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection

from answering.generation import Generation
from answering.prompt import PROMPT_VERSION, build_messages, clean_question, is_small_talk
from answering.tokens import ModelTokenizer
from core.base_model import identify
from core.conversations import (
    create_conversation,
    finish_turn,
    load_turns,
    reassign_turn,
    start_turn,
)
from core.db import Database
from core.errors import ConfigurationError, InvalidInput, ModelUnavailable
from core.learning import serving
from core.settings import Settings
from core.types import Message, Passage, Turn, TurnStatus
from retrieval.adoption import current_options
from retrieval.embed import Embedder
from retrieval.options import Scope, SearchOptions
from retrieval.search import search

MAX_QUESTION_CHARS = 8_000
MAX_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided about a turn before it is stored."""

    owner_id: UUID
    conversation_id: UUID | None  # None: this question begins one
    position: int
    question: str
    messages: list[Message]
    passages: list[Passage]
    asks_model: bool  # False: a real question found nothing; better no answer than an invented one
    adapter: str | None
    retrieval_ms: float


@dataclass(slots=True)
class Draft:
    """An answer while it is being written."""

    plan: Plan
    turn: Turn
    asked_at: float  # perf_counter, s
    generation: Generation | None  # None: no model is asked
    text: str = ""
    first_token_ms: float | None = None
    stopped: bool = False

    def add(self, text: str) -> None:
        """Append what the model wrote; the first piece is timed."""
        if self.first_token_ms is None:
            self.first_token_ms = self.age_ms()
        self.text += text

    def age_ms(self) -> float:
        """Return the milliseconds since the question came in."""
        return (perf_counter() - self.asked_at) * 1000

    def stop(self) -> None:
        """End the answer where it is; may be called from any thread."""
        self.stopped = True
        if self.generation is not None:
            self.generation.stop()


@dataclass(frozen=True, slots=True)
class TurnStore:
    """Plans, opens and closes turns; its methods block, so the event loop calls them in threads."""

    settings: Settings
    db: Database
    embedder: Embedder
    tokenizer: ModelTokenizer

    def plan(
        self, owner_id: UUID, conversation_id: UUID | None, question: str, position: int | None
    ) -> Plan:
        """
        Read the history, search and build the prompt; nothing is written.

        Raises:
            InvalidInput: The question is empty, too long or at an impossible position.
            NotFound: No such conversation, or it is somebody else's.
        """
        asked = checked_question(question)
        turns, adapter, options = self._now(owner_id, conversation_id)
        place = len(turns) if position is None else position
        if not 0 <= place <= len(turns):
            raise InvalidInput(f"there is no question {place + 1} in this conversation")
        history = history_of(turns[:place])
        searching_at = perf_counter()
        found = self._search(asked, history, options)
        retrieval_ms = (perf_counter() - searching_at) * 1000
        prompt = build_messages(
            read_guidelines(self.settings),
            found,
            history,
            asked,
            budget_tokens=self.settings.max_model_len - self.settings.max_answer_tokens,
            count_tokens=self.tokenizer.count_text,
        )
        asks_model = bool(prompt.passages) or is_small_talk(asked)
        return Plan(
            owner_id=owner_id,
            conversation_id=conversation_id,
            position=place,
            question=asked,
            messages=prompt.messages,
            passages=prompt.passages,
            asks_model=asks_model,
            adapter=adapter if asks_model else None,
            retrieval_ms=retrieval_ms,
        )

    def store(self, plan: Plan) -> Turn:
        """Insert the turn as streaming, in a new conversation when it has none."""
        with self.db.connect() as conn:
            return start_turn(
                conn,
                turn_id=uuid4(),
                conversation_id=plan.conversation_id or _begin(conn, plan),
                owner_id=plan.owner_id,
                position=plan.position,
                question=plan.question,
                messages=plan.messages,
                passages=plan.passages,
                adapter=plan.adapter,
                base_model=self.settings.model,
                prompt_version=PROMPT_VERSION,
                retrieval_ms=plan.retrieval_ms,
            )

    def _now(
        self, owner_id: UUID, conversation_id: UUID | None
    ) -> tuple[list[Turn], str | None, SearchOptions]:
        with self.db.connect() as conn:
            turns = load_turns(conn, conversation_id, owner_id) if conversation_id else []
            return turns, self._serving(conn), current_options(conn, self.settings)

    def _serving(self, conn: Connection[Any]) -> str | None:
        return serving(conn, identify(self.settings.model)).adapter

    def _search(
        self, question: str, history: list[Message], options: SearchOptions
    ) -> list[Passage]:
        scope = Scope.of(self.settings)
        found = search(self.db, self.embedder, question, options, scope, history=history)
        return found.passages if found.relevant else []

    def reassign(self, draft: Draft) -> str | None:
        """
        Note and return the adapter that is live now, for a turn whose adapter is gone.

        Raises:
            ModelUnavailable: It is the same one: vLLM has restarted and does not have it yet.
        """
        with self.db.connect() as conn:
            adapter = self._serving(conn)
            if adapter == draft.turn.adapter:
                raise ModelUnavailable("the assistant is starting; please try again in a moment")
            reassign_turn(conn, draft.turn.id, adapter)
        return adapter

    def close(self, draft: Draft, status: TurnStatus) -> Turn:
        """Store how the turn ended; tokens the server did not get to report are counted here."""
        prompt_tokens, completion_tokens = None, 0
        if draft.generation is not None:
            prompt_tokens = draft.generation.prompt_tokens
            if prompt_tokens is None:
                prompt_tokens = self.tokenizer.count(draft.turn.messages)
            completion_tokens = draft.generation.completion_tokens or self.tokenizer.count_text(
                draft.text
            )
        with self.db.connect() as conn:
            return finish_turn(
                conn,
                draft.turn.id,
                answer=draft.text,
                status=status,
                first_token_ms=draft.first_token_ms,
                total_ms=draft.age_ms(),
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )


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


def history_of(turns: list[Turn]) -> list[Message]:
    """Return what was said in these turns; answers that failed are left out."""
    messages: list[Message] = []
    for turn in turns:
        if turn.answer and turn.status in (TurnStatus.COMPLETE, TurnStatus.STOPPED):
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
    return messages


def read_guidelines(settings: Settings) -> str:
    """Return the company's guidelines as they are now; an edit counts from the next question."""
    path = settings.company / "guidelines.md"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be read; check RATCHET_COMPANY") from exc


def title_of(question: str) -> str:
    """
    Return a conversation's title from its first question, at most 60 characters.

    >>> title_of("How do I return a pan? I bought it in May and never used it, honestly not once.")
    'How do I return a pan? I bought it in May and never used it,…'
    """
    line = " ".join(question.split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1].rstrip() + "…"


def _begin(conn: Connection[Any], plan: Plan) -> UUID:
    return create_conversation(conn, plan.owner_id, title_of(plan.question)).id
