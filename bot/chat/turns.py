"""A turn's life in the database: opened with its prompt, closed with its answer."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from uuid import UUID, uuid4

from answering.generation import Generation
from answering.plan import Plan, Planner, history_of
from answering.prompt import PROMPT_VERSION
from core.base_model import read_base_model
from core.conversations import create_conversation
from core.errors import InvalidInput, ModelUnavailable
from core.learning import serving
from core.turns import finish_turn, load_turns, reassign_turn, start_turn
from core.types import Turn, TurnStatus
from retrieval.options import Scope

MAX_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """All that is decided about a turn before it is stored."""

    owner_id: UUID
    conversation_id: UUID | None  # None: this question begins one
    before: list[Turn]  # the conversation that it goes on with; later turns are superseded
    plan: Plan
    adapter: str | None


@dataclass(slots=True)
class Draft:
    """An answer while it is being written."""

    planned: PlannedTurn
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

    planner: Planner

    def plan(
        self,
        owner_id: UUID,
        conversation_id: UUID | None,
        question: str,
        position: int | None,
        scope: Scope | None,
    ) -> PlannedTurn:
        """
        Read the conversation and make the prompt; nothing is written.

        Raises:
            InvalidInput: The question is empty, too long or at an impossible position.
            NotFound: No such conversation, or it is somebody else's.
        """
        with self.planner.db.connect() as conn:
            turns = load_turns(conn, conversation_id, owner_id) if conversation_id else []
            adapter = serving(conn, read_base_model(self.planner.settings.model)).adapter
        if position is not None and not 0 <= position <= len(turns):
            raise InvalidInput(f"there is no question {position + 1} in this conversation")
        before = turns[:position]
        plan = self.planner.plan(question, history_of(before), scope)
        return PlannedTurn(
            owner_id, conversation_id, before, plan, adapter if plan.asks_model else None
        )

    def store(self, planned: PlannedTurn) -> Turn:
        """Insert the turn as streaming, in a new conversation when it has none."""
        plan, owner_id = planned.plan, planned.owner_id
        with self.planner.db.connect() as conn:
            conversation_id = planned.conversation_id
            if conversation_id is None:
                conversation_id = create_conversation(conn, owner_id, title_of(plan.question)).id
            return start_turn(
                conn,
                turn_id=uuid4(),
                conversation_id=conversation_id,
                owner_id=owner_id,
                position=len(planned.before),
                question=plan.question,
                messages=plan.messages,
                passages=plan.passages,
                adapter=planned.adapter,
                base_model=self.planner.settings.model,
                prompt_version=PROMPT_VERSION,
                retrieval_ms=plan.retrieval_ms,
            )

    def reassign(self, draft: Draft) -> str | None:
        """
        Note and return the adapter that is live now, for a turn whose adapter is gone.

        Raises:
            ModelUnavailable: It is the same one: vLLM has restarted and does not have it yet.
        """
        with self.planner.db.connect() as conn:
            adapter = serving(conn, read_base_model(self.planner.settings.model)).adapter
            if adapter == draft.turn.adapter:
                raise ModelUnavailable("the assistant is starting; please try again in a moment")
            reassign_turn(conn, draft.turn.id, adapter)
        return adapter

    def close(self, draft: Draft, status: TurnStatus) -> Turn:
        """Store how the turn ended; tokens the server did not get to report are counted here."""
        tokenizer, generation = self.planner.tokenizer, draft.generation
        prompt_tokens, completion_tokens = None, 0
        if generation is not None:
            prompt_tokens = generation.prompt_tokens
            if prompt_tokens is None:
                prompt_tokens = tokenizer.count(draft.planned.plan.messages)
            completion_tokens = generation.completion_tokens or tokenizer.count_text(draft.text)
        with self.planner.db.connect() as conn:
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


def title_of(question: str) -> str:
    """
    Return a conversation's title from its first question, at most 60 characters.

    >>> title_of("How do I return a pan? I bought it in May and never used it, honestly not once.")
    'How do I return a pan? I bought it in May and never used it,…'
    """
    line = " ".join(question.split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1].rstrip() + "…"
