"""The list of conversations: open, begin, rename, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import gradio as gr
from markupsafe import Markup

from bot.chat.turns import MAX_TITLE_CHARS
from bot.chat.view import conversation_id
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core.conversations import delete_conversation, list_conversations, rename_conversation
from core.errors import InvalidInput
from core.people import Permission, Person
from core.text import storable_text

BRAND = Markup('<a class="brand" href="/">{}</a>')


class Sidebar:
    """The components at the left edge; on a narrow screen they start folded away."""

    def __init__(self, services: Services) -> None:
        self.services = services
        with gr.Sidebar(open=True, width=290, elem_id="sidebar") as self.frame:
            gr.HTML(str(BRAND.format(services.company)), js_on_load=None)
            self.new = gr.Button("New conversation", variant="primary", elem_id="new")
            self.conversations = gr.Radio(
                [],
                show_label=False,
                label="Conversations",
                container=False,
                interactive=True,
                elem_id="talks",
            )
            with gr.Row(elem_id="talk-actions", visible=False) as self.actions:
                self.rename = gr.Button("Rename", size="sm", min_width=60, elem_id="rename")
                self.start_deleting = gr.Button("Delete", size="sm", min_width=60, elem_id="delete")
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
        self.components = [
            self.conversations,
            self.actions,
            self.renaming,
            self.deleting,
            self.title,
        ]

    def wire(self, where: list[Any]) -> None:
        """Connect what changes the list alone; `where` holds the open conversation."""
        changed = self.components
        self.rename.click(self.ask_title, where, changed, **EVENT)
        self.title.submit(self.save_title, [self.title, *where], changed, **EVENT)
        self.start_deleting.click(self.ask_delete, None, changed, **EVENT)
        self.keep.click(self.keep_it, None, changed, **EVENT)

    def show(self, owner_id: UUID, opened: UUID | None) -> Update:
        """Return the list as it is stored, with the open conversation marked."""
        with self.services.database.connect() as conn:
            talks = list_conversations(conn, owner_id)
        choices = [(talk.title or "Conversation", str(talk.id)) for talk in talks]
        marked = str(opened) if opened in {talk.id for talk in talks} else None
        return {
            self.conversations: gr.Radio(choices=choices, value=marked),
            self.actions: gr.Row(visible=marked is not None),
            self.renaming: gr.Column(visible=False),
            self.deleting: gr.Column(visible=False),
        }

    @handler(Permission.ASK)
    def ask_title(self, person: Person, conversation: str) -> Update:
        """Offer the present title for change."""
        with self.services.database.connect() as conn:
            talks = list_conversations(conn, person.id)
        title = next((talk.title for talk in talks if str(talk.id) == conversation), "")
        return {
            self.renaming: gr.Column(visible=True),
            self.deleting: gr.Column(visible=False),
            self.title: gr.Textbox(value=title),
        }

    @handler(Permission.ASK)
    def save_title(self, person: Person, title: str, conversation: str) -> Update:
        """Store a title and show the list with it."""
        wanted = " ".join(storable_text(title).split())[:MAX_TITLE_CHARS]
        if not wanted:
            raise InvalidInput("the title is empty; type one")
        opened = _open_id(conversation)
        with self.services.database.connect() as conn:
            rename_conversation(conn, opened, person.id, wanted)
        return self.show(person.id, opened)

    @handler(Permission.ASK)
    def ask_delete(self, person: Person) -> Update:
        """Ask before taking a conversation away."""
        return {self.deleting: gr.Column(visible=True), self.renaming: gr.Column(visible=False)}

    @handler(Permission.ASK)
    def keep_it(self, person: Person) -> Update:
        """Take the question back."""
        return {self.deleting: gr.Column(visible=False)}

    def delete(self, owner_id: UUID, conversation: str) -> None:
        """
        Delete the open conversation.

        Raises:
            InvalidInput: None is open.
            NotFound: No such conversation, or it is somebody else's.
        """
        with self.services.database.connect() as conn:
            delete_conversation(conn, _open_id(conversation), owner_id)


def _open_id(conversation: str) -> UUID:
    opened = conversation_id(conversation)
    if opened is None:
        raise InvalidInput("open a conversation first")
    return opened
