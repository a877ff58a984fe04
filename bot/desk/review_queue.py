"""The review queue: which disliked answer stands where, and what is still to be reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from core.feedback import disliked_turns
from core.turns import get_turn, turn_passages
from core.types import Feedback, Passage, Rating, Review, Turn
from training.signals import AnswerSignals, Caps, load_signals_of


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One disliked answer with all that a reviewer needs to judge it."""

    turn: Turn
    passages: list[Passage]  # as the model saw them
    signals: AnswerSignals  # what was said of it, what of that counts, and why the rest doesn't

    @property
    def dislikes(self) -> list[Feedback]:
        """The thumbs that point down, newest first."""
        thumbs = (signal.said for signal in self.signals.thumbs)
        return [thumb for thumb in thumbs if thumb.rating is Rating.DOWN]

    @property
    def review(self) -> Review | None:
        """The newest review."""
        return next((signal.said for signal in self.signals.reviews), None)


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One step of a reviewer's walk through the queue."""

    item: ReviewItem | None  # None: nothing (more) to show
    index: int  # counts from 0
    n_items: int
    n_left: int  # not reviewed yet, whatever the filter shows
    n_disliked: int


@dataclass(frozen=True, slots=True)
class ReviewCursor:
    """What the page shows now: actions apply to exactly this, not to what came in since."""

    turn_id: UUID | None = None
    correction_id: UUID | None = None
    index: int = 0


def find_entry(
    conn: Connection[Any], cursor: ReviewCursor, caps: Caps, *, step: int, include_reviewed: bool
) -> QueueEntry:
    """
    Return the entry `step` places after the one at the cursor, newest dislike first.

    New dislikes may have come in since, and the one at the cursor may have left the queue
    because it was reviewed: then the next one has moved up to its place.
    """
    reviewed_by_id = disliked_turns(conn)
    ids = [i for i, reviewed in reviewed_by_id.items() if include_reviewed or not reviewed]
    if cursor.turn_id is not None and cursor.turn_id in ids:
        index = ids.index(cursor.turn_id) + step
    else:
        index = cursor.index + min(step, 0)
    index = max(0, min(index, len(ids) - 1))
    return QueueEntry(
        item=_load_item(conn, ids[index], caps) if ids else None,
        index=index,
        n_items=len(ids),
        n_left=sum(not reviewed for reviewed in reviewed_by_id.values()),
        n_disliked=len(reviewed_by_id),
    )


def _load_item(conn: Connection[Any], turn_id: UUID, caps: Caps) -> ReviewItem:
    return ReviewItem(
        turn=get_turn(conn, turn_id),
        passages=turn_passages(conn, turn_id),
        signals=load_signals_of(conn, turn_id, caps),
    )
