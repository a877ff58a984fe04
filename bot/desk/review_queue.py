"""The review queue: which disliked answer stands where, and what is still to be reviewed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from bot.desk import words
from core.feedback import ReviewItem, disliked_turns
from core.types import Correction
from training.pairs import MAX_ANSWER_CHARS, counting_correction

CITATION = re.compile(r"\[(\d+)\]")


def cited_ranks(answer: str) -> set[int]:
    return {int(number) for number in CITATION.findall(answer)}


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
    conn: Connection[Any], cursor: ReviewCursor, *, step: int, include_reviewed: bool
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
    return QueueEntry(
        item=items[0] if items else None,
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


def correction_marks(item: ReviewItem, correction: Correction) -> list[tuple[str, str]]:
    """Return what is said of a correction, each label with its tone."""
    newest: dict[UUID, Correction] = {}
    for each in item.corrections:  # newest first
        newest.setdefault(each.author_id, each)
    learned_from = counting_correction(
        each for each in newest.values() if each.author_id not in item.ejected
    )
    is_too_long = len(correction.body) > MAX_ANSWER_CHARS
    is_replaced = correction is not newest[correction.author_id]
    marks = [
        ("Replaced by a newer one", "plain")
        if is_replaced
        else words.CORRECTION_STATES[correction.status]
    ]
    if correction is learned_from and not is_too_long:
        marks.append(("learned from", "good"))
    if correction.author_id in item.ejected:
        marks.append(("ejected: not learned from", "bad"))
    if is_too_long:
        marks.append(("too long to learn from; write a shorter one", "bad"))
    return marks
