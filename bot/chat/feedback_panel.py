"""The thumbs and the panel they open: reasons, a comment, what should have been said."""

from __future__ import annotations

from uuid import UUID

import gradio as gr

from bot.chat.feedback import MAX_COMMENT_CHARS, MAX_CORRECTION_CHARS, correct, rate
from bot.chat.view import REASONS
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from bot.web.origin_mark import origin_of
from core.errors import TurnNotFound
from core.people import Permission, Person
from core.types import Rating

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
        self.written = [self.turn, self.reasons, self.comment, self.correction]
        self.components = [self.thanks, self.frame, *self.written]

    def wire(self) -> None:
        """Connect what changes the panel alone."""
        self.shut.click(self.close, None, self.components, **EVENT)

    @handler(Permission.RATE)
    def close(self, person: Person) -> Update:
        """Fold the panel away; what was not sent is not stored."""
        return self.show_closed()

    def rate(self, rater_id: UUID, address: str, liked: gr.LikeData, shown_turns: str) -> Update:
        """
        Store a thumb, then say so; a thumb down opens the panel.

        Raises:
            Busy: The visitor or their network rates too often.
            TurnNotFound: It is no answer of theirs.
        """
        rating = Rating.UP if liked.liked is True else Rating.DOWN
        if isinstance(liked.liked, str):  # the lit thumb was pressed again
            rating = Rating.CLEARED
        turn_id = _turn_id(liked, shown_turns)
        self.services.meter.count("thumbs", rater_id, address)
        rate(self.services.database, rater_id, turn_id, rating)
        if rating is Rating.UP:
            return self.show_closed() | self.show_thanks()
        if rating is Rating.CLEARED:
            return self.show_closed() | self.show_thanks(TAKEN_BACK)
        return self.show_thanks() | {
            self.turn: str(turn_id),
            self.frame: gr.Column(visible=True),
            self.reasons: [],
            self.comment: "",
            self.correction: "",
        }

    def store(
        self,
        rater_id: UUID,
        address: str,
        turn: str,
        reasons: list[str],
        comment: str,
        correction: str,
    ) -> None:
        """
        Store reasons and comment with the thumb, and what should have been said.

        Raises:
            Busy: The visitor or their network corrects too often.
            TurnNotFound: It is no answer of theirs.
            InvalidInput: A text is too long.
        """
        try:
            turn_id = UUID(turn)
        except ValueError as exc:
            raise TurnNotFound("choose an answer first: press its thumb") from exc
        self.services.meter.count("corrections", rater_id, address)
        rate(self.services.database, rater_id, turn_id, Rating.DOWN, reasons, comment)
        if correction.strip():
            origin = origin_of(address, self.services.settings.secret("session-secret"))
            correct(self.services.database, rater_id, turn_id, correction, origin=origin)

    def show_thanks(self, html: str = THANKS) -> Update:
        """Return the line that says what was done."""
        return {self.thanks: gr.HTML(value=html, visible=True)}

    def show_closed(self) -> Update:
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
