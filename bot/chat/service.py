"""One chat turn: retrieve → prompt → stream → save."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

from answering.generation import Generation, ModelStream
from answering.plan import Planner
from bot.chat.turns import Draft, PlannedTurn, TurnStore
from core.errors import AdapterError
from core.settings import NOTHING_FOUND
from core.types import Passage, Turn, TurnStatus
from core.vllm import BASE
from retrieval.options import Scope


@dataclass(frozen=True, slots=True)
class Started:
    """The question is stored and may be rated later."""

    turn_id: UUID
    conversation_id: UUID
    passages: list[Passage]  # what the model will see
    before: list[Turn]  # the conversation before it, as `load_turns` gives it


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer: one token, or all that came since the last look."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is stored; nothing follows."""

    turn: Turn
    passages: list[Passage]  # what the model saw


ChatEvent = Started | Token | Finished


class ChatService:
    """Answers questions in conversations; one for each event loop."""

    def __init__(self, planner: Planner) -> None:
        self._turns = TurnStore(planner)
        self._model = ModelStream(planner.settings)
        self._drafts: dict[UUID, Draft] = {}  # by turn, while they stream in this process

    async def close(self) -> None:
        """Close the connections to the model."""
        await self._model.close()

    async def answer(
        self,
        owner_id: UUID,
        conversation_id: UUID | None,
        question: str,
        *,
        position: int | None = None,
        scope: Scope | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """
        Answer a question: `Started`, then `Token`s, then `Finished`.

        Without a conversation a new one is begun. With a position, the turn there and all
        after it are superseded (regenerate, edit). The turn is stored before its first token
        and again with its end: closing this iterator early leaves it 'stopped' with what was
        written so far, an error leaves it 'failed'. `scope` is what the asker may look through: a
        visitor's, when none is given.

        Raises:
            InvalidInput: The question is empty, too long or at an impossible position.
            NotFound: No such conversation, or it is somebody else's.
            ModelUnavailable: vLLM can't be reached or broke off.
            DatabaseUnavailable: Postgres can't be reached.
        """
        draft = await self._open(owner_id, conversation_id, question, position, scope)
        self._drafts[draft.turn.id] = draft
        passages, before = draft.planned.plan.passages, draft.planned.before
        status = TurnStatus.FAILED
        try:
            yield Started(draft.turn.id, draft.turn.conversation_id, passages, before)
            async with aclosing(self._write(draft)) as texts:
                async for text in texts:
                    draft.add(text)
                    yield Token(text)
            status = TurnStatus.STOPPED if draft.stopped else TurnStatus.COMPLETE
        except (GeneratorExit, asyncio.CancelledError):
            status = TurnStatus.STOPPED  # closed from outside: the reader has left
            raise
        finally:
            del self._drafts[draft.turn.id]
            if draft.generation is not None:
                await draft.generation.close()
            closing = asyncio.to_thread(self._turns.close, draft, status)
            turn = await asyncio.shield(closing)  # a cancelled answer is stored all the same
        yield Finished(turn, passages)

    def stop(self, owner_id: UUID, conversation_id: UUID) -> None:
        """
        End what is being written in an owner's conversation; the partial answer is stored.

        May be called from any thread.
        """
        for draft in list(self._drafts.values()):
            if (draft.planned.owner_id, draft.turn.conversation_id) == (owner_id, conversation_id):
                draft.stop()

    async def _open(
        self,
        owner_id: UUID,
        conversation_id: UUID | None,
        question: str,
        position: int | None,
        scope: Scope | None,
    ) -> Draft:
        """Store the turn while the model reads it already; neither goes on without the other."""
        asked_at = perf_counter()
        planned = await asyncio.to_thread(
            self._turns.plan, owner_id, conversation_id, question, position, scope
        )
        asks_model = planned.plan.asks_model
        generation = self._generate(planned, planned.adapter) if asks_model else None
        try:
            turn = await asyncio.to_thread(self._turns.store, planned)
        except BaseException:
            if generation is not None:
                await generation.close()
            raise
        return Draft(planned, turn, asked_at, generation)

    def _generate(self, planned: PlannedTurn, adapter: str | None) -> Generation:
        return self._model.generate(adapter or BASE, planned.plan.messages)

    async def _write(self, draft: Draft) -> AsyncGenerator[str, None]:
        """Yield the answer's text from the model, or the fixed sentence when nothing was found."""
        if draft.generation is None:
            yield NOTHING_FOUND
            return
        try:
            async for text in draft.generation:
                yield text
        except AdapterError:
            # Swapped and unloaded between our reading the row and vLLM's answer.
            adapter = await asyncio.to_thread(self._turns.reassign, draft)
            draft.generation = self._generate(draft.planned, adapter)
            async for text in draft.generation:
                yield text
