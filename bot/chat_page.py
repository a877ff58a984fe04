"""The customers' page: layout and events only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from html import escape
from uuid import UUID

import gradio as gr

from answering.generation import ANSWER_TIMEOUT_S
from bot.chat import Finished, Started, Token
from bot.chat_view import (
    Drawing,
    ShownTurn,
    load_shown,
    messages_of,
    question_message,
    thumbs_of,
    turn_ids_of,
)
from bot.door import QUIET, Update, conversation_id, forgiving, say
from bot.feedback_panel import FeedbackPanel
from bot.services import Services
from bot.sidebar import Sidebar
from bot.web.admission import Ticket
from bot.web.people import address_of, visitor_id
from core.company import load_company
from core.conversations import count_streaming, load_turns
from core.errors import Busy, InvalidInput, NotFound, RatchetError
from core.types import Turn

MAX_PLACE_DIGITS = 7
SHOW_IN_ADDRESS = (
    "(id) => history.replaceState(null, '', id ? '/?c=' + encodeURIComponent(id) : '/')"
)
READ_ADDRESS = "() => new URLSearchParams(location.search).get('c') || ''"


@dataclass(slots=True)
class Window:
    """One browser window during an answer; once left, nothing more may be drawn over it."""

    left: bool = False
    conversation_id: UUID | None = None  # known once the question is stored


def build_chat_page(services: Services) -> gr.Blocks:
    """Return the chat as a Gradio app; who is asking comes from the signed cookie."""
    blocks: gr.Blocks
    with gr.Blocks(title=services.company, analytics_enabled=False, fill_height=True) as blocks:
        ChatPage(services).wire(blocks)
    return blocks


class ChatPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # What is open is held by the browser: it survives a restart of this process. Both are
        # checked against the visitor's id each time.
        self.conversation = gr.Textbox(visible="hidden", elem_id="conversation")
        self.editing = gr.Textbox(visible="hidden", elem_id="editing")
        # Whose messages are shown, in order: a thumb names its message by the place only.
        self.shown_turns = gr.Textbox(visible="hidden", elem_id="shown-turns")
        self.sidebar = Sidebar(services)
        self._windows: dict[str, Window] = {}  # by Gradio's session, while an answer is written
        self._lay_out()

    def _lay_out(self) -> None:
        self.chatbot = gr.Chatbot(
            elem_id="chat",
            show_label=False,
            label="Conversation",
            height="100%",
            scale=1,
            layout="bubble",
            buttons=[],
            placeholder=_welcome(self.services.company),
            examples=[
                {"text": question}
                for question in load_company(self.services.settings.company).suggested
            ],
            feedback_options=("Like", "Dislike"),
            latex_delimiters=[],
            allow_tags=False,
        )
        with gr.Row(elem_id="actions", visible=False) as self.actions:
            self.again = gr.Button("Try again", size="sm", elem_id="again")
            self.edit = gr.Button("Edit question", size="sm", elem_id="edit")
        self.panel = FeedbackPanel(self.services)
        with gr.Row(elem_id="editing-bar", visible=False) as self.editing_bar:
            gr.HTML("Editing your last question", js_on_load=None, elem_id="editing-note")
            self.leave_edit = gr.Button("Cancel", size="sm", elem_id="leave-edit")
        self.waiting = gr.HTML(visible=False, elem_id="waiting-line", js_on_load=None)
        self.composer = gr.Textbox(
            elem_id="composer",
            show_label=False,
            label="Your question",
            placeholder="Ask a question…",
            lines=1,
            max_lines=8,
            container=False,
            autofocus=True,
            submit_btn=True,
            html_attributes=gr.InputHTMLAttributes(autocorrect="on", enterkeyhint="send"),
        )

    def wire(self, blocks: gr.Blocks) -> None:
        """Connect the components; called inside the Blocks."""
        drawn = [
            self.conversation,
            self.editing,
            self.shown_turns,
            self.waiting,
            self.sidebar.talks,
            self.chatbot,
            self.actions,
            self.editing_bar,
            self.composer,
            *self.panel.drawn,
            *self.sidebar.drawn,
        ]
        typed = [self.composer, self.conversation, self.editing]
        where = [self.conversation]
        self.composer.submit(self.send, typed, drawn, **QUIET)
        self.chatbot.example_select(self.send_suggested, where, drawn, **QUIET)
        self.again.click(self.send_again, where, drawn, **QUIET)
        self.composer.stop(self.stop, where, None, **QUIET)
        self.edit.click(self.start_edit, where, drawn, **QUIET)
        self.leave_edit.click(self.leave_edit_mode, None, drawn, **QUIET)
        self.sidebar.wire(self, where, drawn)
        self.panel.wire(self, where, drawn)
        blocks.load(self.arrive, where, drawn, js=READ_ADDRESS, **QUIET)
        self.conversation.change(None, where, None, js=SHOW_IN_ADDRESS, api_visibility="private")

    async def send(
        self, question: str, conversation: str, editing: str, request: gr.Request
    ) -> AsyncIterator[Update]:
        """Answer what was typed; in place of the last question when that is being edited."""
        place = int(editing) if editing.isdecimal() and len(editing) < MAX_PLACE_DIGITS else None
        async for update in self._answer(question, conversation, place, request):
            yield update

    async def send_suggested(
        self, conversation: str, chosen: gr.SelectData, request: gr.Request
    ) -> AsyncIterator[Update]:
        """Answer a suggested question."""
        async for update in self._answer(chosen.value["text"], conversation, None, request):
            yield update

    async def send_again(self, conversation: str, request: gr.Request) -> AsyncIterator[Update]:
        """Answer the last question anew; the old answer is kept as history."""
        try:
            last = await asyncio.to_thread(self._last, conversation, request)
        except RatchetError as exc:
            say(exc)
            yield gr.skip()
            return
        async for update in self._answer(last.question, conversation, last.position, request):
            yield update

    async def _answer(
        self, question: str, conversation: str, place: int | None, request: gr.Request
    ) -> AsyncIterator[Update]:
        """Draw an answer as it is written; a question that can't be taken stays in the composer."""
        session = request.session_hash or ""
        window = self._windows[session] = Window()
        try:
            owner_id, address = visitor_id(request), address_of(request)
            ticket = self.services.admission.enter(owner_id, address)
            try:
                async for update in self._queue(ticket, window, request):
                    yield update
                updates = self._write(question, conversation, place, window, request)
                async with aclosing(updates):
                    async for update in updates:
                        yield update
            finally:
                ticket.leave()
        except RatchetError as exc:
            say(exc)
            yield {self.waiting: gr.HTML(visible=False)}
        finally:
            if self._windows.get(session) is window:
                del self._windows[session]

    async def _queue(
        self, ticket: Ticket, window: Window, request: gr.Request
    ) -> AsyncIterator[Update]:
        """
        Count the question, see that somebody listens, and wait for a seat.

        Raises:
            Busy: There are too many questions, answers or people; the text says when to return.
        """
        services, session = self.services, request.session_hash or ""
        await asyncio.to_thread(
            services.meter.count, "questions", ticket.visitor, address_of(request)
        )
        await asyncio.to_thread(self._check_streaming, ticket.visitor)
        if not await services.listeners.arrived(session):
            raise Busy("nobody listened for the answer; ask again", 1)
        async for n_before in ticket.places():
            yield {self.waiting: gr.HTML(_waiting_line(n_before), visible=True)}

    def _check_streaming(self, owner_id: UUID) -> None:
        """Refuse one answer too many of a visitor whom other web processes answer as well."""
        most = self.services.settings.max_answers_per_visitor
        with self.services.database.connect() as conn:
            if count_streaming(conn, owner_id, ANSWER_TIMEOUT_S) >= most:
                raise Busy("your answers before this one are still being written", 2)

    async def _write(
        self,
        question: str,
        conversation: str,
        place: int | None,
        window: Window,
        request: gr.Request,
    ) -> AsyncGenerator[Update, None]:
        """Draw one answer from its start to its end, or to where nobody reads it any more."""
        drawing, owner_id = None, visitor_id(request)
        watch = asyncio.create_task(self._stop_unheard(window, request, owner_id))
        try:
            events = self.services.chat.answer(
                owner_id, conversation_id(conversation), question, position=place
            )
            async with aclosing(events):
                async for event in events:
                    update = None
                    if isinstance(event, Started):
                        window.conversation_id = event.conversation_id
                        drawing = await asyncio.to_thread(self._begin, owner_id, event, question)
                        update = self._writing(drawing)
                    elif isinstance(event, Token) and drawing and drawing.add(event.text):
                        update = {self.chatbot: drawing.messages()}
                    elif isinstance(event, Finished):
                        opened = event.turn.conversation_id
                        update = await asyncio.to_thread(self._drawn, owner_id, opened)
                    if window.left:
                        # Gradio draws a generator's last value once more when it ends.
                        yield gr.skip()
                        return  # closes the answer: stopped, with what was written so far
                    if update:
                        yield update
        except RatchetError as exc:
            if drawing is None:
                raise
            yield self._broken(drawing, exc)
        finally:
            watch.cancel()

    async def _stop_unheard(self, window: Window, request: gr.Request, owner_id: UUID) -> None:
        """End an answer that no window listens to any more: it costs the others."""
        await self.services.listeners.gone(request.session_hash or "")
        window.left = True
        if window.conversation_id is not None:
            self.services.chat.stop(owner_id, window.conversation_id)

    def leave(self, conversation: str, request: gr.Request) -> None:
        """End the answer that this window is showing: it turns to another conversation."""
        if window := self._windows.get(request.session_hash or ""):
            window.left = True
            self.stop(conversation, request)

    def _begin(self, owner_id: UUID, started: Started, question: str) -> Drawing:
        with self.services.database.connect() as conn:
            shown = load_shown(conn, started.conversation_id, owner_id)
        before = [each for each in shown if each.turn.id != started.turn_id]
        talks = self.sidebar.shown(owner_id, started.conversation_id)
        asked = question_message(started.turn_id, question)
        turn_ids = f"{turn_ids_of(before)} {started.turn_id}".strip()
        return Drawing(started, [*messages_of(before), asked], talks, turn_ids)

    def _writing(self, drawing: Drawing) -> Update:
        return {
            self.conversation: str(drawing.started.conversation_id),
            self.editing: "",
            self.editing_bar: gr.Row(visible=False),
            self.shown_turns: drawing.turn_ids,
            self.waiting: gr.HTML(visible=False),
            self.chatbot: drawing.messages(),
            self.actions: gr.Row(visible=False),
            self.composer: gr.Textbox(value="", submit_btn=False, stop_btn=True),
            **self.panel.closed(),
            **drawing.talks,
        }

    def _broken(self, drawing: Drawing, problem: RatchetError) -> Update:
        """Show what came and why no more did; without asking Postgres, which may be the reason."""
        return {
            self.chatbot: drawing.broken(problem),
            self.actions: gr.Row(visible=True),
            self.composer: gr.Textbox(submit_btn=True, stop_btn=False),
        }

    def stop(self, conversation: str, request: gr.Request) -> None:
        """End the answer being written; what is there is stored and shown by the answer itself."""
        if opened := conversation_id(conversation):
            self.services.chat.stop(visitor_id(request), opened)

    @forgiving
    def start_edit(self, conversation: str, request: gr.Request) -> Update:
        """Put the last question into the composer; sending it replaces that question."""
        last = self._last(conversation, request)
        return {
            self.editing: str(last.position),
            self.editing_bar: gr.Row(visible=True),
            self.composer: gr.Textbox(value=last.question),
        }

    def leave_edit_mode(self) -> Update:
        """Empty the composer; the next question goes to the end again."""
        return {
            self.editing: "",
            self.editing_bar: gr.Row(visible=False),
            self.composer: gr.Textbox(value=""),
        }

    def arrive(self, conversation: str, request: gr.Request) -> Update:
        """Show what the address names, unless a question was asked before the page had loaded."""
        drawn = self.open(conversation, request)
        nothing: Update = gr.skip()
        return nothing if request.session_hash in self._windows else drawn

    @forgiving
    def open(self, conversation: str, request: gr.Request) -> Update:
        """Show a conversation as it is stored; an empty page when there is none."""
        owner_id = visitor_id(request)
        try:
            return self._drawn(owner_id, conversation_id(conversation))
        except NotFound:
            return self._drawn(owner_id, None)

    def _drawn(self, owner_id: UUID, opened: UUID | None) -> Update:
        shown: list[ShownTurn] = []
        if opened is not None:
            with self.services.database.connect() as conn:
                shown = load_shown(conn, opened, owner_id)
        return {
            self.conversation: str(opened or ""),
            self.editing: "",
            self.editing_bar: gr.Row(visible=False),
            self.shown_turns: turn_ids_of(shown),
            self.waiting: gr.HTML(visible=False),
            self.chatbot: gr.update(value=messages_of(shown), feedback_value=thumbs_of(shown)),
            self.actions: gr.Row(visible=bool(shown)),
            self.composer: gr.Textbox(submit_btn=True, stop_btn=False),
            **self.panel.closed(),
            **self.sidebar.shown(owner_id, opened),
        }

    def _last(self, conversation: str, request: gr.Request) -> Turn:
        opened = conversation_id(conversation)
        turns: list[Turn] = []
        if opened is not None:
            with self.services.database.connect() as conn:
                turns = load_turns(conn, opened, visitor_id(request))
        if not turns:
            raise InvalidInput("ask a question first")
        return turns[-1]


def _waiting_line(n_before: int) -> str:
    people = "1 person is" if n_before == 1 else f"{n_before} people are"
    before = f"{people} before you" if n_before else "You are next"
    return f'<p class="waiting-line" role="status">Many are asking just now. {before}.</p>'


def _welcome(company: str) -> str:
    return (
        f"<h1>How can we help?</h1><p>Ask {escape(company)} anything. "
        f"Answers come from our help articles, with the source beside them.</p>"
    )
