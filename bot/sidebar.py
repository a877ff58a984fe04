"""The list of conversations: open, begin, rename, delete."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from uuid import UUID

import gradio as gr

from bot.door import QUIET, Update, conversation_id, forgiving
from bot.services import Services
from bot.turns import MAX_TITLE_CHARS
from bot.web.people import visitor_id
from core.conversations import delete_conversation, list_conversations, rename_conversation
from core.errors import InvalidInput
from retrieval.load import storable_text

if TYPE_CHECKING:
    from bot.chat_page import ChatPage


class Sidebar:
    """The components at the left edge; on a narrow screen they start folded away."""

    def __init__(self, services: Services) -> None:
        self.services = services
        with gr.Sidebar(open=True, width=290, elem_id="sidebar") as self.frame:
            gr.HTML(f'<a class="brand" href="/">{escape(services.company)}</a>', js_on_load=None)
            self.new = gr.Button("New conversation", variant="primary", elem_id="new")
            self.talks = gr.Radio(
                [],
                show_label=False,
                label="Conversations",
                container=False,
                interactive=True,
                elem_id="talks",
            )
            with gr.Row(elem_id="talk-actions", visible=False) as self.actions:
                self.rename = gr.Button("Rename", size="sm", min_width=60, elem_id="rename")
                self.delete = gr.Button("Delete", size="sm", min_width=60, elem_id="delete")
            self._lay_out_questions()

    def _lay_out_questions(self) -> None:
        with gr.Column(visible=False, elem_id="renaming") as self.renaming:
            self.title = gr.Textbox(
                label="New title", max_length=MAX_TITLE_CHARS, elem_id="title", submit_btn="Save"
            )
        with gr.Column(visible=False, elem_id="deleting") as self.deleting:
            gr.HTML("Delete this conversation?", js_on_load=None)
            with gr.Row():
                self.really = gr.Button(
                    "Delete", variant="stop", size="sm", min_width=60, elem_id="really"
                )
                self.keep = gr.Button("Keep", size="sm", min_width=60, elem_id="keep")
        self.drawn = [self.talks, self.actions, self.renaming, self.deleting, self.title]

    def wire(self, page: ChatPage, where: list[Any], drawn: list[Any]) -> None:
        """Connect the list; leaving a conversation ends the answer being written in it."""

        @forgiving
        def start_new(conversation: str, request: gr.Request) -> Update:
            page.leave(conversation, request)
            return page.open("", request)

        @forgiving
        def choose(conversation: str, chosen: gr.SelectData, request: gr.Request) -> Update:
            page.leave(conversation, request)
            return page.open(str(chosen.value), request)

        @forgiving
        def save_title(title: str, conversation: str, request: gr.Request) -> Update:
            self._rename(conversation, title, request)
            return self.shown(visitor_id(request), conversation_id(conversation))

        @forgiving
        def delete(conversation: str, request: gr.Request) -> Update:
            page.leave(conversation, request)
            self._delete(conversation, request)
            return page.open("", request)

        self.new.click(start_new, where, drawn, **QUIET)
        self.talks.select(choose, where, drawn, **QUIET)
        self.rename.click(self.ask_title, where, self.drawn, **QUIET)
        self.title.submit(save_title, [self.title, *where], self.drawn, **QUIET)
        self.delete.click(self.ask_delete, None, self.drawn, **QUIET)
        self.keep.click(self.keep_it, None, self.drawn, **QUIET)
        self.really.click(delete, where, drawn, **QUIET)

    def shown(self, owner_id: UUID, opened: UUID | None) -> Update:
        """Return the list as it is stored, with the open conversation marked."""
        with self.services.database.connect() as conn:
            talks = list_conversations(conn, owner_id)
        choices = [(talk.title or "Conversation", str(talk.id)) for talk in talks]
        marked = str(opened) if opened in {talk.id for talk in talks} else None
        return {
            self.talks: gr.Radio(choices=choices, value=marked),
            self.actions: gr.Row(visible=marked is not None),
            self.renaming: gr.Column(visible=False),
            self.deleting: gr.Column(visible=False),
        }

    @forgiving
    def ask_title(self, conversation: str, request: gr.Request) -> Update:
        """Offer the present title for change."""
        with self.services.database.connect() as conn:
            talks = list_conversations(conn, visitor_id(request))
        title = next((talk.title for talk in talks if str(talk.id) == conversation), "")
        return {
            self.renaming: gr.Column(visible=True),
            self.deleting: gr.Column(visible=False),
            self.title: gr.Textbox(value=title),
        }

    def ask_delete(self) -> Update:
        """Ask before taking a conversation away."""
        return {self.deleting: gr.Column(visible=True), self.renaming: gr.Column(visible=False)}

    def keep_it(self) -> Update:
        """Take the question back."""
        return {self.deleting: gr.Column(visible=False)}

    def _rename(self, conversation: str, title: str, request: gr.Request) -> None:
        wanted = " ".join(storable_text(title).split())[:MAX_TITLE_CHARS]
        if not wanted:
            raise InvalidInput("the title is empty; type one")
        with self.services.database.connect() as conn:
            rename_conversation(conn, _open_id(conversation), visitor_id(request), wanted)

    def _delete(self, conversation: str, request: gr.Request) -> None:
        with self.services.database.connect() as conn:
            delete_conversation(conn, _open_id(conversation), visitor_id(request))


def _open_id(conversation: str) -> UUID:
    opened = conversation_id(conversation)
    if opened is None:
        raise InvalidInput("open a conversation first")
    return opened
