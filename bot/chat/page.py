"""The customers' page: its events and what each of them does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import gradio as gr

from bot.chat.layout import ChatLayout
from bot.chat.stream import AnswerStreams, WindowQuestion
from bot.chat.view import conversation_id
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler, say, stream_handler
from bot.web.people import address_of
from core.errors import InvalidInput, NotFound, RatchetError
from core.people import Permission, Person
from core.turns import load_turns
from core.types import Turn
from retrieval.options import Scope

MAX_POSITION_DIGITS = 7
SHOW_IN_ADDRESS = (
    "(id) => history.replaceState(null, '', id ? '/?c=' + encodeURIComponent(id) : '/')"
)
READ_ADDRESS = "() => new URLSearchParams(location.search).get('c') || ''"


def build_chat_page(services: Services) -> gr.Blocks:
    """Return the chat as a Gradio app; who is asking comes from the signed cookie."""
    blocks: gr.Blocks
    with gr.Blocks(title=services.company, analytics_enabled=False, fill_height=True) as blocks:
        ChatPage(services).wire(blocks)
    return blocks


class ChatPage:
    """Connects the page's components with what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.layout = ChatLayout(services)
        self.streams = AnswerStreams(services, self.layout)

    def wire(self, blocks: gr.Blocks) -> None:
        """Connect the components; called inside the Blocks."""
        layout, sidebar, panel = self.layout, self.layout.sidebar, self.layout.panel
        drawn, where = layout.everything, [layout.conversation]
        typed = [layout.composer, layout.conversation, layout.editing]
        layout.composer.submit(self.send, typed, drawn, **EVENT)
        layout.chatbot.example_select(self.send_suggested, where, drawn, **EVENT)
        layout.again.click(self.send_again, where, drawn, **EVENT)
        layout.composer.stop(self.stop, where, None, **EVENT)
        layout.edit.click(self.start_edit, where, drawn, **EVENT)
        layout.leave_edit.click(self.leave_edit_mode, None, drawn, **EVENT)
        sidebar.new.click(self.start_new, where, drawn, **EVENT)
        sidebar.conversations.select(self.choose, where, drawn, **EVENT)
        sidebar.really.click(self.delete, where, drawn, **EVENT)
        sidebar.wire(where)
        layout.chatbot.like(self.rate_answer, [layout.shown_turns, *where], drawn, **EVENT)
        panel.save.click(self.save_details, [*panel.written, *where], drawn, **EVENT)
        panel.wire()
        blocks.load(self.arrive, where, drawn, js=READ_ADDRESS, **EVENT)
        layout.conversation.change(None, where, None, js=SHOW_IN_ADDRESS, api_visibility="private")

    @stream_handler(Permission.ASK)
    def send(
        self, person: Person, question: str, conversation: str, editing: str, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """Answer what was typed; in place of the last question when that is being edited."""
        is_place = editing.isdecimal() and len(editing) < MAX_POSITION_DIGITS
        position = int(editing) if is_place else None
        return self._answer(person, question, conversation, position, request)

    @stream_handler(Permission.ASK)
    def send_suggested(
        self, person: Person, conversation: str, chosen: gr.SelectData, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """Answer a suggested question."""
        return self._answer(person, chosen.value["text"], conversation, None, request)

    @stream_handler(Permission.ASK)
    async def send_again(
        self, person: Person, conversation: str, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """Answer the last question anew; the old answer is kept as history."""
        last = await asyncio.to_thread(self._last, person, conversation)
        async for update in self._answer(
            person, last.question, conversation, last.position, request
        ):
            yield update

    def _answer(
        self,
        person: Person,
        question: str,
        conversation: str,
        position: int | None,
        request: gr.Request,
    ) -> AsyncGenerator[Update, None]:
        return self.streams.write(
            WindowQuestion(
                owner_id=person.id,
                address=address_of(request),
                session=request.session_hash or "",
                question=question,
                conversation_id=conversation_id(conversation),
                position=position,
                scope=Scope(audiences=person.audiences),
            )
        )

    @handler(Permission.ASK)
    def stop(self, person: Person, conversation: str) -> None:
        """End the answer being written; what is there is stored and shown by the answer itself."""
        self._stop(person, conversation)

    @handler(Permission.ASK)
    def start_edit(self, person: Person, conversation: str) -> Update:
        """Put the last question into the composer; sending it replaces that question."""
        last = self._last(person, conversation)
        return self.layout.show_editing(last.position, last.question)

    @handler(Permission.ASK)
    def leave_edit_mode(self, person: Person) -> Update:
        """Empty the composer; the next question goes to the end again."""
        return self.layout.show_not_editing() | {self.layout.composer: gr.Textbox(value="")}

    @handler(Permission.ASK)
    def arrive(self, person: Person, conversation: str, request: gr.Request) -> Update:
        """Show what the address names, unless a question was asked before the page had loaded."""
        drawn = self._open(person, conversation)
        nothing: Update = gr.skip()
        return nothing if self.streams.has_asked(request.session_hash) else drawn

    @handler(Permission.ASK)
    def start_new(self, person: Person, conversation: str, request: gr.Request) -> Update:
        """Show an empty page; an answer being written in the conversation before is ended."""
        self._leave(person, conversation, request)
        return self._open(person, "")

    @handler(Permission.ASK)
    def choose(
        self, person: Person, conversation: str, chosen: gr.SelectData, request: gr.Request
    ) -> Update:
        """Show the conversation chosen; an answer being written in the one before is ended."""
        self._leave(person, conversation, request)
        return self._open(person, str(chosen.value))

    @handler(Permission.ASK)
    def delete(self, person: Person, conversation: str, request: gr.Request) -> Update:
        """Delete the open conversation and show an empty page."""
        self._leave(person, conversation, request)
        self.layout.sidebar.delete(person.id, conversation)
        return self._open(person, "")

    @handler(Permission.RATE)
    def rate_answer(
        self,
        person: Person,
        liked: gr.LikeData,
        shown_turns: str,
        conversation: str,
        request: gr.Request,
    ) -> Update:
        """Store a thumb; if it can't be stored, light the thumbs again as they are stored."""
        try:
            return self.layout.panel.rate(person.id, address_of(request), liked, shown_turns)
        except RatchetError as exc:
            say(exc)
            return self._open(person, conversation)

    @handler(Permission.RATE)
    def save_details(
        self,
        person: Person,
        turn: str,
        reasons: list[str],
        comment: str,
        correction: str,
        conversation: str,
        request: gr.Request,
    ) -> Update:
        """Store what the panel holds, and show it under the answer."""
        panel = self.layout.panel
        panel.store(person.id, address_of(request), turn, reasons, comment, correction)
        return self._open(person, conversation) | panel.show_thanks()

    def _open(self, person: Person, conversation: str) -> Update:
        """Return a conversation as it is stored; an empty page when there is none."""
        try:
            return self.layout.show_stored(person.id, conversation_id(conversation))
        except NotFound:
            return self.layout.show_stored(person.id, None)

    def _leave(self, person: Person, conversation: str, request: gr.Request) -> None:
        """End the answer that this window is showing: it turns to another conversation."""
        if self.streams.leave(request.session_hash):
            self._stop(person, conversation)

    def _stop(self, person: Person, conversation: str) -> None:
        if opened := conversation_id(conversation):
            self.services.chat.stop(person.id, opened)

    def _last(self, person: Person, conversation: str) -> Turn:
        turns = self._turns(person.id, conversation_id(conversation))
        if not turns:
            raise InvalidInput("ask a question first")
        return turns[-1]

    def _turns(self, owner_id: UUID, opened: UUID | None) -> list[Turn]:
        if opened is None:
            return []
        with self.services.database.connect() as conn:
            return load_turns(conn, opened, owner_id)
