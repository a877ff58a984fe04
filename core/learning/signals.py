"""SQL of what people said of answers, as `training.signals` weighs it; and of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from core.feedback import corrections_by_turn, reviews_by_turn, thumbs_by_turn
from core.types import Correction, Feedback, Message, Review, TurnStatus


@dataclass(frozen=True, slots=True)
class AnswerFeedback:
    """One answer and all that people said of it, the newest of each kind first."""

    turn_id: UUID
    conversation_id: UUID
    created_at: datetime
    status: TurnStatus
    is_deleted: bool  # its owner deleted the conversation
    messages_sha256: str  # of the prompt; `load_prompts` has the messages themselves
    answer: str
    corrections: tuple[Correction, ...] = ()
    thumbs: tuple[Feedback, ...] = ()  # each rater's newest, unless it was taken back
    reviews: tuple[Review, ...] = ()
    ejected: frozenset[UUID] = frozenset()  # people whose words nothing is learned from


def load_feedback(conn: Connection[Any], turn_id: UUID | None = None) -> list[AnswerFeedback]:
    """
    Return every answer with an approved correction, and the one of `turn_id`, oldest first.

    Without an approved correction nothing said of an answer can count. Those answers, of
    which strangers make as many as they like, are not read; nor are the prompts, which are long.
    """
    sql = """
        SELECT t.id AS turn_id, t.conversation_id, t.created_at, t.status,
               c.deleted_at IS NOT NULL AS is_deleted, t.messages_sha256, t.answer
        FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE t.id = ANY(ARRAY(
            SELECT turn_id FROM corrections WHERE status = 'approved'
            UNION SELECT %s::uuid))
        ORDER BY t.created_at, t.id
    """
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql, [turn_id]).fetchall()
    turn_ids = [row["turn_id"] for row in rows]
    corrections = corrections_by_turn(conn, turn_ids)
    thumbs = thumbs_by_turn(conn, turn_ids)
    reviews = reviews_by_turn(conn, turn_ids)
    ejected = frozenset(row[0] for row in conn.execute("SELECT rater_id FROM ejections"))
    return [
        AnswerFeedback(
            **{**row, "status": TurnStatus(row["status"])},
            corrections=tuple(corrections[row["turn_id"]]),
            thumbs=tuple(thumbs[row["turn_id"]]),
            reviews=tuple(reviews[row["turn_id"]]),
            ejected=ejected,
        )
        for row in rows
    ]


def load_prompts(conn: Connection[Any], turn_ids: Sequence[UUID]) -> dict[UUID, list[Message]]:
    """Return by turn the exact messages that its model saw."""
    sql = "SELECT id, messages FROM turns WHERE id = ANY(%s)"
    return dict(conn.execute(sql, [list(turn_ids)]).fetchall())
