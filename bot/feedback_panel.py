"""The thumbs and the panel they open: reasons, a comment, what should have been said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import gradio as gr

from bot.chat_view import REASONS
from bot.door import QUIET, Update, forgiving, say
from bot.feedback import MAX_COMMENT_CHARS, MAX_CORRECTION_CHARS, correct, rate
from bot.services import Services
from bot.web.origin_mark import origin_of
from bot.web.people import address_of, visitor_id
from core.errors import RatchetError, TurnNotFound
from core.types import Rating

if TYPE_CHECKING:
    from bot.chat_page import ChatPage

THANKS = '<p role="status">Saved. Thank you!</p>'
TAKEN_BACK = '<p role="status">Your thumb was taken back.</p>'


class FeedbackPanel:
    """Opens under the chat after a thumbs-down; the thumb itself is stored before that."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.turn = gr.Textbox(visible="hidden", elem_id="rated-turn")
        self.thanks = gr.HTML(elem_id="thanks", js_on_load=None, visible=False)
        with gr.Column(visible=False, elem_id="feedback-panel") as self.frame:
            self.reasons = gr.CheckboxGroup(
                [(label, reason.value) for reason, label in REASONS.items()],
                label="What was wrong?",
                elem_id="reasons",
            )
            self.correction = gr.Textbox(
                label="What should it have said?",
                lines=2,
                max_lines=8,
                max_length=MAX_CORRECTION_CHARS,
                elem_id="correction",
            )
            self.comment = gr.Textbox(
                label="Anything else?",
                lines=1,
                max_lines=4,
                max_length=MAX_COMMENT_CHARS,
                elem_id="comment",
            )
            with gr.Row():
                self.save = gr.Button("Send", variant="primary", size="sm", elem_id="send-feedback")
                self.shut = gr.Button("Close", size="sm", elem_id="close-feedback")
        self.drawn = [self.turn, self.thanks, self.frame]
        self.drawn += [self.reasons, self.comment, self.correction]

    def wire(self, page: ChatPage, where: list[Any], drawn: list[Any]) -> None:
        """Connect thumbs and panel."""

        def rate_answer(
            liked: gr.LikeData, shown_turns: str, conversation: str, request: gr.Request
        ) -> Update:
            try:
                return self._rate(liked, shown_turns, request)
            except RatchetError as exc:
                say(exc)
                return page.open(conversation, request)  # the thumbs as they are stored

        @forgiving
        def save_details(
            turn: str,
            reasons: list[str],
            comment: str,
            correction: str,
            conversation: str,
            request: gr.Request,
        ) -> Update:
            self._save(turn, reasons, comment, correction, request)
            return page.open(conversation, request) | self._said(THANKS)

        written = [self.turn, self.reasons, self.comment, self.correction]
        page.chatbot.like(rate_answer, [page.shown_turns, *where], drawn, **QUIET)
        self.save.click(save_details, [*written, *where], drawn, **QUIET)
        self.shut.click(self.closed, None, self.drawn, **QUIET)

    def _rate(self, liked: gr.LikeData, shown_turns: str, request: gr.Request) -> Update:
        """Store a thumb, then say so; a thumb down opens the panel."""
        rating = Rating.UP if liked.liked is True else Rating.DOWN
        if isinstance(liked.liked, str):  # the lit thumb was pressed again
            rating = Rating.CLEARED
        turn_id = _turn_id(liked, shown_turns)
        visitor = visitor_id(request)
        self.services.meter.count("thumbs", visitor, address_of(request))
        rate(self.services.database, visitor, turn_id, rating)
        if rating is Rating.UP:
            return self.closed() | self._said(THANKS)
        if rating is Rating.CLEARED:
            return self.closed() | self._said(TAKEN_BACK)
        return self._said(THANKS) | {
            self.turn: str(turn_id),
            self.frame: gr.Column(visible=True),
            self.reasons: [],
            self.comment: "",
            self.correction: "",
        }

    def _save(
        self, turn: str, reasons: list[str], comment: str, correction: str, request: gr.Request
    ) -> None:
        try:
            turn_id = UUID(turn)
        except ValueError as exc:
            raise TurnNotFound("choose an answer first: press its thumb") from exc
        rater_id, address = visitor_id(request), address_of(request)
        self.services.meter.count("corrections", rater_id, address)
        rate(self.services.database, rater_id, turn_id, Rating.DOWN, reasons, comment)
        if correction.strip():
            origin = origin_of(address, self.services.settings.secret("session-secret"))
            correct(self.services.database, rater_id, turn_id, correction, origin=origin)

    def _said(self, html: str) -> Update:
        return {self.thanks: gr.HTML(value=html, visible=True)}

    def closed(self) -> Update:
        """Return the panel folded away."""
        return {
            self.turn: "",
            self.thanks: gr.HTML(value="", visible=False),
            self.frame: gr.Column(visible=False),
        }


def _turn_id(liked: gr.LikeData, shown_turns: str) -> UUID:
    """
    Return whose thumb it is: the page shows two messages for each turn, and says which turns.

    What it says is checked: only an answer of the visitor's own can be rated.
    """
    index = liked.index if isinstance(liked.index, int) else liked.index[0]
    try:
        return UUID(shown_turns.split()[index // 2])
    except (IndexError, ValueError, AttributeError) as exc:
        raise TurnNotFound("this answer is not stored; reload the page") from exc
