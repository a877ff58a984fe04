"""The review page: walk through disliked answers, decide on corrections, give a verdict."""

from __future__ import annotations

from uuid import UUID

import gradio as gr

from bot.desk import words
from bot.desk.markup import PLAIN, status
from bot.desk.queue import Place, Shown, find_place
from bot.desk.review_card import queue_line, review_card
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.audit import Action
from core.errors import InvalidInput
from core.feedback import add_correction, decide_correction, record_review
from core.people import Permission, Person
from core.text import storable_text
from core.types import Correction, CorrectionStatus, Verdict
from training.signals import MAX_ANSWER_CHARS, Caps

MAX_NOTE_CHARS = 2000
KEYS_LINE = (
    '<p class="keys"><kbd>J</kbd> next <kbd>K</kbd> back <kbd>A</kbd> approve '
    "<kbd>X</kbd> reject <kbd>1</kbd>–<kbd>7</kbd> verdict <kbd>Ctrl</kbd>+<kbd>Enter</kbd> save"
    "</p>"
)


class ReviewPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.database = services.database
        self.caps = Caps.of(services.settings)
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        self.shown = gr.State(Shown())
        with gr.Row(elem_classes="queue-bar"):
            self.line = gr.HTML(elem_id="desk-queue-line", **PLAIN)
            self.reviewed_too = gr.Checkbox(
                label="Reviewed ones too", container=False, elem_id="desk-reviewed-too"
            )
            self.back = gr.Button("Back", size="md", elem_id="desk-back")
            self.next = gr.Button("Next", size="md", elem_id="desk-next")
        self.said = gr.HTML(visible=False, elem_id="desk-said", **PLAIN)
        with gr.Row(elem_classes="review-row"):
            with gr.Column(scale=3, min_width=320):
                self.card = gr.HTML(elem_id="desk-card", **PLAIN)
            with gr.Column(
                scale=2, min_width=300, visible=False, elem_classes="decisions"
            ) as self.decisions:
                self._lay_out_decisions()

    def _lay_out_decisions(self) -> None:
        with gr.Row(visible=False) as self.on_correction:
            self.approve = gr.Button(
                "Approve correction", variant="primary", size="md", elem_id="desk-approve"
            )
            self.reject = gr.Button("Reject correction", size="md", elem_id="desk-reject")
        with gr.Column(elem_classes="decision"):
            self.preferred = gr.Textbox(
                label="What it should have said",
                info="Learned from instead of any customer’s correction.",
                lines=4,
                max_lines=12,
                elem_id="desk-preferred",
            )
            self.prefer = gr.Button(
                "Save as the preferred answer", size="md", elem_id="desk-prefer"
            )
        with gr.Column(elem_classes="decision"):
            self.verdict = gr.Radio(
                [(label, verdict.value) for verdict, label in words.VERDICTS.items()],
                label="What was at fault?",
                elem_id="desk-verdict",
            )
            self.note = gr.Textbox(
                label="Note (for your team)",
                info="Was the right article not found? Name it, like returns.md: the question "
                "then counts in Search quality.",
                lines=2,
                elem_id="desk-note",
            )
            self.save = gr.Button(
                "Save and next", variant="primary", size="md", elem_id="desk-save"
            )
        gr.HTML(KEYS_LINE, **PLAIN)

    def _wire(self) -> None:
        inputs = [self.shown, self.reviewed_too]
        outputs = [
            self.shown,
            self.line,
            self.said,
            self.card,
            self.decisions,
            self.on_correction,
            self.preferred,
            self.verdict,
            self.note,
        ]
        self.reviewed_too.input(self.show_first, inputs, outputs, **EVENT)
        self.back.click(self.show_back, inputs, outputs, **EVENT)
        self.next.click(self.show_next, inputs, outputs, **EVENT)
        self.approve.click(self.approve_correction, inputs, outputs, **EVENT)
        self.reject.click(self.reject_correction, inputs, outputs, **EVENT)
        self.prefer.click(self.save_preferred, [*inputs, self.preferred], outputs, **EVENT)
        self.save.click(self.save_verdict, [*inputs, self.verdict, self.note], outputs, **EVENT)
        self.inputs, self.outputs = inputs, outputs

    def fill(self, desk: gr.Blocks) -> None:
        """Show the newest answer when the page opens."""
        desk.load(self.show_first, self.inputs, self.outputs, **EVENT)

    @handler(Permission.REVIEW)
    def show_first(self, person: Person, shown: Shown, reviewed_too: bool) -> Update:
        """Show the newest answer to review, or the newest of all."""
        return self._fresh(Shown(), reviewed_too, step=0, said="")

    @handler(Permission.REVIEW)
    def show_next(self, person: Person, shown: Shown, reviewed_too: bool) -> Update:
        """Go one place down the queue."""
        return self._fresh(shown, reviewed_too, step=1, said="")

    @handler(Permission.REVIEW)
    def show_back(self, person: Person, shown: Shown, reviewed_too: bool) -> Update:
        """Go one place up the queue."""
        return self._fresh(shown, reviewed_too, step=-1, said="")

    @handler(Permission.REVIEW)
    def approve_correction(self, person: Person, shown: Shown, reviewed_too: bool) -> Update:
        """Let the next training learn from the correction shown."""
        self._decide(person, shown, CorrectionStatus.APPROVED, Action.CORRECTION_APPROVED)
        return self._same(shown, reviewed_too, "Approved. The next training learns from it.")

    @handler(Permission.REVIEW)
    def reject_correction(self, person: Person, shown: Shown, reviewed_too: bool) -> Update:
        """Keep the correction shown out of training."""
        self._decide(person, shown, CorrectionStatus.REJECTED, Action.CORRECTION_REJECTED)
        return self._same(shown, reviewed_too, "Rejected. No training will learn from it.")

    @handler(Permission.REVIEW)
    def save_preferred(
        self, person: Person, shown: Shown, reviewed_too: bool, preferred: str
    ) -> Update:
        """Store the admin's own answer; as the newest approved correction it is the one learned."""
        turn_id = _shown_turn(shown)
        body = _written(preferred, MAX_ANSWER_CHARS, "the preferred answer")
        if not body:
            raise InvalidInput("the preferred answer is empty; write what should be said")
        with self.database.connect() as conn:
            add_correction(conn, turn_id, person.id, body, by_admin=True)
            audit.record(conn, person.name, Action.ANSWER_PREFERRED, turn_id)
        return self._same(shown, reviewed_too, "Saved. The next training learns from your answer.")

    @handler(Permission.REVIEW)
    def save_verdict(
        self, person: Person, shown: Shown, reviewed_too: bool, verdict: str | None, note: str
    ) -> Update:
        """Store what was at fault and go on to the next answer."""
        turn_id = _shown_turn(shown)
        found = _verdict(verdict)
        kept = _written(note, MAX_NOTE_CHARS, "the note")
        with self.database.connect() as conn:
            record_review(conn, turn_id, found, kept, person.id)
            audit.record(conn, person.name, Action.ANSWER_REVIEWED, turn_id, verdict=found.value)
        step = 1 if reviewed_too else 0  # else it left the queue and the next moved up
        return self._fresh(shown, reviewed_too, step, f"Saved: {words.VERDICTS[found].lower()}.")

    def _decide(
        self, person: Person, shown: Shown, status: CorrectionStatus, action: Action
    ) -> None:
        if shown.correction_id is None:
            raise InvalidInput("this answer has no customer's correction to decide on")
        with self.database.connect() as conn:
            decide_correction(conn, shown.correction_id, status)
            audit.record(conn, person.name, action, shown.correction_id)

    def _same(self, shown: Shown, reviewed_too: bool, said: str) -> Update:
        """Show the same answer again; what is being written beside it stays."""
        place = self._place(shown, reviewed_too, step=0)
        if place.item is None or place.item.turn.id != shown.turn_id:
            return self._view(place, said) | self._cleared(place)
        return self._view(place, said)

    def _fresh(self, shown: Shown, reviewed_too: bool, step: int, said: str) -> Update:
        place = self._place(shown, reviewed_too, step)
        return self._view(place, said) | self._cleared(place)

    def _place(self, shown: Shown, reviewed_too: bool, step: int) -> Place:
        with self.database.connect() as conn:
            return find_place(conn, shown, self.caps, step=step, include_reviewed=reviewed_too)

    def _view(self, place: Place, said: str) -> Update:
        correction = _customers_correction(place)
        return {
            self.shown: Shown(
                turn_id=place.item.turn.id if place.item else None,
                correction_id=correction.id if correction else None,
                index=place.index,
            ),
            self.line: queue_line(place),
            self.said: gr.HTML(status(said) if said else "", visible=bool(said)),
            self.card: review_card(place),
            self.decisions: gr.Column(visible=place.item is not None),
            self.on_correction: gr.Row(visible=correction is not None),
        }

    def _cleared(self, place: Place) -> Update:
        """Fill the fields with what was decided of this answer before, if anything."""
        item = place.item
        own = [c.body for c in item.corrections if c.by_admin] if item else []
        return {
            self.preferred: own[0] if own else "",
            self.verdict: item.verdict.value if item and item.verdict else None,
            self.note: item.note if item else "",
        }


def _customers_correction(place: Place) -> Correction | None:
    """Return the newest correction that a customer wrote of the answer shown."""
    corrections = place.item.corrections if place.item else []
    return next((c for c in corrections if not c.by_admin), None)


def _shown_turn(shown: Shown) -> UUID:
    if shown.turn_id is None:
        raise InvalidInput("no answer is shown; reload the page")
    return shown.turn_id


def _verdict(chosen: str | None) -> Verdict:
    if chosen not in {verdict.value for verdict in Verdict}:
        raise InvalidInput("choose what was at fault, then save")
    return Verdict(chosen)


def _written(body: str, max_chars: int, what: str) -> str:
    """Return what was typed, without outer space and what Postgres can't store."""
    kept = storable_text(body).strip()
    if len(kept) > max_chars:
        raise InvalidInput(f"{what} has {len(kept)} characters; at most {max_chars} are kept")
    return kept
