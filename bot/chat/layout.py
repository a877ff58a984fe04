"""The customers' page as components, and what each of them shows in which state."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import gradio as gr
from markupsafe import Markup

from bot.chat.feedback_panel import FeedbackPanel
from bot.chat.service import Started
from bot.chat.sidebar import Sidebar
from bot.chat.view import (
    Drawing,
    load_shown,
    messages_of,
    question_message,
    thumbs_of,
    turn_ids_of,
)
from bot.services import Services
from bot.web.handlers import Update
from core.company import load_company
from core.errors import RatchetError
from core.turns import load_turns
from core.types import Turn

WELCOME = Markup(
    "<h1>How can we help?</h1><p>Ask {} anything. "
    "Answers come from our help articles, with the source beside them.</p>"
)


class ChatLayout:
    """The page's components; the methods return which of them change, and to what."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # What is open is held by the browser: it survives a restart of this process. Both are
        # checked against the visitor's id each time.
        self.conversation = gr.Textbox(visible="hidden", elem_id="conversation")
        self.editing = gr.Textbox(visible="hidden", elem_id="editing")
        # Whose messages are shown, in order: a thumb names its message by the place only.
        self.shown_turns = gr.Textbox(visible="hidden", elem_id="shown-turns")
        self.sidebar = Sidebar(services)
        self._lay_out_conversation()
        self.panel = FeedbackPanel(services)
        self._lay_out_composer()
        self.everything = [
            self.conversation,
            self.editing,
            self.shown_turns,
            self.waiting,
            self.chatbot,
            self.actions,
            self.editing_bar,
            self.composer,
            *self.panel.components,
            *self.sidebar.components,
        ]

    def _lay_out_conversation(self) -> None:
        suggested = load_company(self.services.settings.company).suggested
        self.chatbot = gr.Chatbot(
            elem_id="chat",
            show_label=False,
            label="Conversation",
            height="100%",
            scale=1,
            layout="bubble",
            buttons=[],
            placeholder=str(WELCOME.format(self.services.company)),
            examples=[{"text": question} for question in suggested],
            feedback_options=("Like", "Dislike"),
            latex_delimiters=[],
            allow_tags=False,
        )
        with gr.Row(elem_id="actions", visible=False) as self.actions:
            self.again = gr.Button("Try again", size="sm", elem_id="again")
            self.edit = gr.Button("Edit question", size="sm", elem_id="edit")

    def _lay_out_composer(self) -> None:
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

    def show_stored(self, owner_id: UUID, opened: UUID | None) -> Update:
        """
        Return a conversation as it is stored; an empty page for None.

        Raises:
            NotFound: No such conversation, or it is somebody else's.
        """
        turns: list[Turn] = []
        if opened is not None:
            with self.services.database.connect() as conn:
                turns = load_turns(conn, opened, owner_id)
        return self.show_turns(owner_id, opened, turns)

    def show_turns(self, owner_id: UUID, opened: UUID | None, turns: Sequence[Turn]) -> Update:
        """Return a conversation of which the turns are known already."""
        with self.services.database.connect() as conn:
            shown = load_shown(conn, turns, owner_id)
        return {
            self.conversation: str(opened or ""),
            self.shown_turns: turn_ids_of(shown),
            self.chatbot: gr.update(value=messages_of(shown), feedback_value=thumbs_of(shown)),
            self.actions: gr.Row(visible=bool(shown)),
            self.composer: gr.Textbox(submit_btn=True, stop_btn=False),
            **self._at_rest(),
            **self.sidebar.show(owner_id, opened),
        }

    def begin_drawing(self, owner_id: UUID, started: Started, question: str) -> Drawing:
        """Load what stands before an answer that begins now."""
        with self.services.database.connect() as conn:
            before = load_shown(conn, started.before, owner_id)
        conversations = self.sidebar.show(owner_id, started.conversation_id)
        asked = question_message(started.turn_id, question)
        turn_ids = f"{turn_ids_of(before)} {started.turn_id}".strip()
        return Drawing(started, [*messages_of(before), asked], conversations, turn_ids)

    def show_begun(self, drawing: Drawing) -> Update:
        """Return an answer of which nothing has come yet."""
        return {
            self.conversation: str(drawing.started.conversation_id),
            self.shown_turns: drawing.turn_ids,
            self.chatbot: drawing.messages(),
            self.actions: gr.Row(visible=False),
            self.composer: gr.Textbox(value="", submit_btn=False, stop_btn=True),
            **self._at_rest(),
            **drawing.conversations,
        }

    def show_broken(self, drawing: Drawing, problem: RatchetError) -> Update:
        """Return what came and why no more did; not from Postgres, which may be the reason."""
        return {
            self.chatbot: drawing.broken(problem),
            self.actions: gr.Row(visible=True),
            self.composer: gr.Textbox(submit_btn=True, stop_btn=False),
        }

    def show_waiting(self, n_before: int | None) -> Update:
        """Return the line on how many are answered before this question; None hides it."""
        if n_before is None:
            return {self.waiting: gr.HTML(visible=False)}
        people = "1 person is" if n_before == 1 else f"{n_before} people are"
        before = f"{people} before you" if n_before else "You are next"
        line = f'<p class="waiting-line" role="status">Many are asking just now. {before}.</p>'
        return {self.waiting: gr.HTML(line, visible=True)}

    def show_editing(self, position: int, question: str) -> Update:
        """Return the composer with a question that is to be asked anew."""
        return {
            self.editing: str(position),
            self.editing_bar: gr.Row(visible=True),
            self.composer: gr.Textbox(value=question),
        }

    def show_not_editing(self) -> Update:
        """Return the composer for a question at the end of the conversation."""
        return {self.editing: "", self.editing_bar: gr.Row(visible=False)}

    def _at_rest(self) -> Update:
        return {**self.show_waiting(None), **self.show_not_editing(), **self.panel.show_closed()}
