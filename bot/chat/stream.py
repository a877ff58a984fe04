"""One answer in one browser window: admitted, drawn as it is written, ended when nobody listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import gradio as gr

from answering.generation import ANSWER_TIMEOUT_S
from bot.chat.layout import ChatLayout
from bot.chat.service import ChatEvent, Finished, Started, Token
from bot.chat.view import Drawing
from bot.services import Services
from bot.web.admission import Ticket
from bot.web.handlers import Update, say
from core.errors import Busy, RatchetError
from core.turns import count_streaming
from retrieval.options import Scope


@dataclass(frozen=True, slots=True)
class WindowQuestion:
    """A question as it comes from a window."""

    owner_id: UUID
    address: str
    session: str  # Gradio's name of the window
    question: str
    conversation_id: UUID | None  # None: it begins one
    position: int | None  # of the question that it takes the place of; None: at the end
    scope: Scope  # what the asker may look through


@dataclass(slots=True)
class OpenAnswer:
    """An answer being written in a window; once the window has left it, it draws nothing more."""

    left: bool = False
    conversation_id: UUID | None = None  # known once the question is stored
    drawing: Drawing | None = None  # likewise


class AnswerStreams:
    """Writes answers into windows; used from one event loop."""

    def __init__(self, services: Services, layout: ChatLayout) -> None:
        self.services, self.layout = services, layout
        self._open_by_session: dict[str, OpenAnswer] = {}
        self._asked: deque[str] = deque(maxlen=1000)  # windows, the last to ask at the end

    def has_asked(self, session: str | None) -> bool:
        """Whether a question was asked in a window lately, answered or not."""
        return session in self._asked

    def leave(self, session: str | None) -> bool:
        """Draw nothing more in a window; return whether an answer was being written there."""
        open_answer = self._open_by_session.get(session or "")
        if open_answer is not None:
            open_answer.left = True
        return open_answer is not None

    async def write(self, asked: WindowQuestion) -> AsyncGenerator[Update, None]:
        """Draw an answer as it is written; a question that can't be taken stays in the composer."""
        open_answer = self._open_by_session[asked.session] = OpenAnswer()
        self._asked.append(asked.session)
        try:
            ticket = self.services.admission.enter(asked.owner_id, asked.address)
            try:
                async for update in self._wait(ticket, asked):
                    yield update
                async with aclosing(self._draw(open_answer, asked)) as updates:
                    async for update in updates:
                        yield update
            finally:
                ticket.leave()
        except RatchetError as exc:
            say(exc)
            yield self.layout.show_waiting(None)
        finally:
            if self._open_by_session.get(asked.session) is open_answer:
                del self._open_by_session[asked.session]

    async def _wait(self, ticket: Ticket, asked: WindowQuestion) -> AsyncIterator[Update]:
        """
        Count the question, see that somebody listens, and wait for a seat.

        Raises:
            Busy: There are too many questions, answers or people; the text says when to return.
        """
        services = self.services
        await asyncio.to_thread(services.meter.count, "questions", asked.owner_id, asked.address)
        await asyncio.to_thread(self._check_streaming, asked.owner_id)
        if not await services.listeners.arrived(asked.session):
            raise Busy("nobody listened for the answer; ask again", 1)
        async for n_before in ticket.places():
            yield self.layout.show_waiting(n_before)

    def _check_streaming(self, owner_id: UUID) -> None:
        """Refuse one answer too many of a visitor whom other web processes answer as well."""
        most = self.services.settings.max_answers_per_visitor
        with self.services.database.connect() as conn:
            if count_streaming(conn, owner_id, ANSWER_TIMEOUT_S) >= most:
                raise Busy("your answers before this one are still being written", 2)

    async def _draw(
        self, open_answer: OpenAnswer, asked: WindowQuestion
    ) -> AsyncGenerator[Update, None]:
        """Draw one answer from its start to its end, or to where nobody reads it any more."""
        watch = asyncio.create_task(self._stop_unheard(open_answer, asked))
        answer = self.services.chat.answer(
            asked.owner_id,
            asked.conversation_id,
            asked.question,
            position=asked.position,
            scope=asked.scope,
        )
        try:
            async with aclosing(answer) as events:
                async for event in events:
                    update = await self._drawn(event, open_answer, asked)
                    if open_answer.left:
                        # Gradio draws a generator's last value once more when it ends.
                        yield gr.skip()
                        return  # closes the answer: stopped, with what was written so far
                    if update:
                        yield update
        except RatchetError as exc:
            if open_answer.drawing is None:
                raise
            yield self.layout.show_broken(open_answer.drawing, exc)
        finally:
            watch.cancel()

    async def _drawn(
        self, event: ChatEvent, open_answer: OpenAnswer, asked: WindowQuestion
    ) -> Update | None:
        """Return what an event changes on the page; None for a piece that can wait for the next."""
        layout = self.layout
        match event:
            case Started():
                open_answer.conversation_id = event.conversation_id
                open_answer.drawing = await asyncio.to_thread(
                    layout.begin_drawing, asked.owner_id, event, asked.question
                )
                return layout.show_begun(open_answer.drawing)
            case Token():
                drawing = open_answer.drawing
                is_due = drawing is not None and drawing.add(event.text)
                return {layout.chatbot: drawing.messages()} if drawing and is_due else None
            case Finished():
                # What stood before is not loaded again, only the thumbs given meanwhile.
                drawing = open_answer.drawing
                before = drawing.started.before if drawing else []
                return await asyncio.to_thread(
                    layout.show_turns,
                    asked.owner_id,
                    event.turn.conversation_id,
                    [*before, event.turn],
                )

    async def _stop_unheard(self, open_answer: OpenAnswer, asked: WindowQuestion) -> None:
        """End an answer that no window listens to any more: it costs the others."""
        await self.services.listeners.gone(asked.session)
        open_answer.left = True
        if open_answer.conversation_id is not None:
            self.services.chat.stop(asked.owner_id, open_answer.conversation_id)
