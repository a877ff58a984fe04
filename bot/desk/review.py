"""The review page: walk through disliked answers, decide on corrections, give a verdict."""

from __future__ import annotations

from uuid import UUID

import gradio as gr

from bot.desk import words
from bot.desk.cards import PLAIN, load_cards, status_line
from bot.desk.review_queue import (
    QueueEntry,
    ReviewCursor,
    find_entry,
)
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.audit import Action
from core.citations import cited_numbers
from core.errors import InvalidInput
from core.feedback import add_correction, decide_correction, record_review
from core.people import Permission, Person
from core.text import storable_text
from core.types import Correction, CorrectionStatus, Verdict
from training.signals import MAX_ANSWER_CHARS, Caps

MAX_NOTE_CHARS = 2000
CARDS = load_cards("review", cited_numbers=cited_numbers)


class ReviewPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.database = services.database
        self.caps = Caps.of(services.settings)
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        self.cursor = gr.State(ReviewCursor())
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
        gr.HTML(CARDS.keys_line(), **PLAIN)

    def _wire(self) -> None:
        inputs = [self.cursor, self.reviewed_too]
        outputs = [
            self.cursor,
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
    def show_first(self, person: Person, cursor: ReviewCursor, reviewed_too: bool) -> Update:
        """Show the newest answer to review, or the newest of all."""
        return self._walk(ReviewCursor(), reviewed_too, step=0)

    @handler(Permission.REVIEW)
    def show_next(self, person: Person, cursor: ReviewCursor, reviewed_too: bool) -> Update:
        """Go one place down the queue."""
        return self._walk(cursor, reviewed_too, step=1)

    @handler(Permission.REVIEW)
    def show_back(self, person: Person, cursor: ReviewCursor, reviewed_too: bool) -> Update:
        """Go one place up the queue."""
        return self._walk(cursor, reviewed_too, step=-1)

    @handler(Permission.REVIEW)
    def approve_correction(
        self, person: Person, cursor: ReviewCursor, reviewed_too: bool
    ) -> Update:
        """Let the next training learn from the correction shown."""
        self._decide(person, cursor, CorrectionStatus.APPROVED, Action.CORRECTION_APPROVED)
        return self._stay(cursor, reviewed_too, "Approved. The next training learns from it.")

    @handler(Permission.REVIEW)
    def reject_correction(self, person: Person, cursor: ReviewCursor, reviewed_too: bool) -> Update:
        """Keep the correction shown out of training."""
        self._decide(person, cursor, CorrectionStatus.REJECTED, Action.CORRECTION_REJECTED)
        return self._stay(cursor, reviewed_too, "Rejected. No training will learn from it.")

    @handler(Permission.REVIEW)
    def save_preferred(
        self, person: Person, cursor: ReviewCursor, reviewed_too: bool, preferred: str
    ) -> Update:
        """Store the admin's own answer; as the newest approved correction it is the one learned."""
        turn_id = _turn_id(cursor)
        body = _typed(preferred, MAX_ANSWER_CHARS, "the preferred answer")
        if not body:
            raise InvalidInput("the preferred answer is empty; write what should be said")
        with self.database.connect() as conn:
            add_correction(conn, turn_id, person.id, body, by_admin=True)
            audit.record(conn, person.name, Action.ANSWER_PREFERRED, turn_id)
        return self._stay(cursor, reviewed_too, "Saved. The next training learns from your answer.")

    @handler(Permission.REVIEW)
    def save_verdict(
        self,
        person: Person,
        cursor: ReviewCursor,
        reviewed_too: bool,
        chosen: str | None,
        note: str,
    ) -> Update:
        """Store what was at fault and go on to the next answer."""
        turn_id = _turn_id(cursor)
        verdict = _verdict(chosen)
        kept = _typed(note, MAX_NOTE_CHARS, "the note")
        with self.database.connect() as conn:
            record_review(conn, turn_id, verdict, kept, person.id)
            audit.record(conn, person.name, Action.ANSWER_REVIEWED, turn_id, verdict=verdict.value)
        step = 1 if reviewed_too else 0  # else it left the queue and the next moved up
        said = f"Saved: {words.VERDICTS[verdict].lower()}."
        return self._walk(cursor, reviewed_too, step, said)

    def _decide(
        self, person: Person, cursor: ReviewCursor, status: CorrectionStatus, action: Action
    ) -> None:
        if cursor.correction_id is None:
            raise InvalidInput("this answer has no customer's correction to decide on")
        with self.database.connect() as conn:
            decide_correction(conn, cursor.correction_id, status)
            audit.record(conn, person.name, action, cursor.correction_id)

    def _stay(self, cursor: ReviewCursor, reviewed_too: bool, said: str) -> Update:
        """Show the same answer again; what is being typed beside it stays."""
        entry = self._find(cursor, reviewed_too, step=0)
        is_same = entry.item is not None and entry.item.turn.id == cursor.turn_id
        return self._with_card(entry, said) if is_same else self._show(entry, said)

    def _walk(self, cursor: ReviewCursor, reviewed_too: bool, step: int, said: str = "") -> Update:
        return self._show(self._find(cursor, reviewed_too, step), said)

    def _find(self, cursor: ReviewCursor, reviewed_too: bool, step: int) -> QueueEntry:
        with self.database.connect() as conn:
            return find_entry(conn, cursor, self.caps, step=step, include_reviewed=reviewed_too)

    def _show(self, entry: QueueEntry, said: str) -> Update:
        """Show an answer, the fields filled with what was decided of it before, if anything."""
        item = entry.item
        review = item.review if item else None
        own = (correction.body for correction in _corrections(entry) if correction.by_admin)
        return self._with_card(entry, said) | {
            self.preferred: next(own, ""),
            self.verdict: review.verdict.value if review else None,
            self.note: review.note if review else "",
        }

    def _with_card(self, entry: QueueEntry, said: str) -> Update:
        correction = _customers_correction(entry)
        return {
            self.cursor: ReviewCursor(
                turn_id=entry.item.turn.id if entry.item else None,
                correction_id=correction.id if correction else None,
                index=entry.index,
            ),
            self.line: CARDS.queue_line(entry),
            self.said: status_line(said),
            self.card: CARDS.review_card(entry),
            self.decisions: gr.Column(visible=entry.item is not None),
            self.on_correction: gr.Row(visible=correction is not None),
        }


def _customers_correction(entry: QueueEntry) -> Correction | None:
    """Return the newest correction that a customer wrote of the answer shown."""
    return next((c for c in _corrections(entry) if not c.by_admin), None)


def _corrections(entry: QueueEntry) -> list[Correction]:
    """Return what the answer shown should have said, newest first."""
    return [signal.said for signal in entry.item.signals.corrections] if entry.item else []


def _turn_id(cursor: ReviewCursor) -> UUID:
    if cursor.turn_id is None:
        raise InvalidInput("no answer is shown; reload the page")
    return cursor.turn_id


def _verdict(chosen: str | None) -> Verdict:
    if chosen not in {verdict.value for verdict in Verdict}:
        raise InvalidInput("choose what was at fault, then save")
    return Verdict(chosen)


def _typed(body: str, max_chars: int, what: str) -> str:
    """Return what was typed, without outer space and what Postgres can't store."""
    kept = storable_text(body).strip()
    if len(kept) > max_chars:
        raise InvalidInput(f"{what} has {len(kept)} characters; at most {max_chars} are kept")
    return kept
