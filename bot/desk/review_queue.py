"""The review queue: which disliked answer stands where, and what is still to be reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from core.feedback import ReviewItem, disliked_turns
from training.signals import AnswerSignals, Caps, load_signals_of


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One step of a reviewer's walk through the queue."""

    item: ReviewItem | None  # None: nothing (more) to show
    signals: AnswerSignals | None  # what of the item counts for learning, and why the rest doesn't
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
    reviewed_by_id = _disliked(conn)
    ids = [i for i, reviewed in reviewed_by_id.items() if include_reviewed or not reviewed]
    if cursor.turn_id is not None and cursor.turn_id in ids:
        index = ids.index(cursor.turn_id) + step
    else:
        index = cursor.index + min(step, 0)
    index = max(0, min(index, len(ids) - 1))
    items = disliked_turns(conn, limit=1, offset=index, include_reviewed=include_reviewed)
    item = items[0] if items else None
    return QueueEntry(
        item=item,
        signals=load_signals_of(conn, item.turn.id, caps) if item else None,
        index=index,
        n_items=len(ids),
        n_left=sum(not reviewed for reviewed in reviewed_by_id.values()),
        n_disliked=len(reviewed_by_id),
    )


def _disliked(conn: Connection[Any]) -> dict[UUID, bool]:
    """Return whether each disliked turn was reviewed, in the order of `disliked_turns`."""
    sql = """
        SELECT d.turn_id, EXISTS (SELECT FROM reviews r WHERE r.turn_id = d.turn_id)
        FROM (SELECT turn_id, max(rated_at) AS disliked_at FROM current_feedback
              WHERE rating = 'down' GROUP BY turn_id) d
        JOIN turns t ON t.id = d.turn_id
        JOIN conversations c ON c.id = t.conversation_id AND c.deleted_at IS NULL
        ORDER BY d.disliked_at DESC, d.turn_id
    """
    return dict(conn.execute(sql).fetchall())
