"""SQL of what there is to learn from: rated turns with their corrections, and frozen datasets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core.types import Correction, CorrectionStatus, Message


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One finished answer with everything said about it now."""

    turn_id: UUID
    conversation_id: UUID
    created_at: datetime
    messages: list[Message]
    messages_sha256: str
    answer: str
    liked_by: tuple[UUID, ...]
    disliked_by: tuple[UUID, ...]
    corrections: tuple[Correction, ...]  # each author's newest, unless rejected; newest first


def raw_feedback(conn: Connection[Any]) -> list[FeedbackRow]:
    """
    Return every completed answer that has a thumb or a correction, oldest first.

    Superseded turns (regenerated or edited away) are included, conversations that their owner
    deleted are not. A thumb taken back does not count.
    """
    sql = """
        SELECT t.id AS turn_id, t.conversation_id, t.created_at, t.messages, t.messages_sha256,
               t.answer,
               ARRAY(SELECT rater_id FROM current_feedback f
                     WHERE f.turn_id = t.id AND f.rating = 'up' ORDER BY rated_at) AS liked_by,
               ARRAY(SELECT rater_id FROM current_feedback f
                     WHERE f.turn_id = t.id AND f.rating = 'down' ORDER BY rated_at) AS disliked_by
        FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE t.status = 'complete' AND c.deleted_at IS NULL
          AND (EXISTS (SELECT FROM feedback f WHERE f.turn_id = t.id)
               OR EXISTS (SELECT FROM corrections k WHERE k.turn_id = t.id))
        ORDER BY t.created_at, t.id
    """
    corrections = _newest_corrections(conn)
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql).fetchall()
    return [
        FeedbackRow(
            **{**row, "liked_by": tuple(row["liked_by"]), "disliked_by": tuple(row["disliked_by"])},
            corrections=tuple(corrections.get(row["turn_id"], ())),
        )
        for row in rows
    ]


def newest_signal_at(conn: Connection[Any]) -> datetime | None:
    """Return when the last thumb or correction came, None when none did."""
    sql = """
        SELECT greatest((SELECT max(rated_at) FROM feedback),
                        (SELECT max(created_at) FROM corrections))
    """
    row = conn.execute(sql).fetchone()
    return None if row is None else row[0]


def insert_dataset(
    conn: Connection[Any],
    dataset_id: UUID,
    *,
    path: str,
    sha256: str,
    n_train: int,
    n_heldout: int,
    manifest: dict[str, Any],
) -> None:
    """Store a frozen dataset's manifest. The caller owns the transaction."""
    sql = """
        INSERT INTO datasets (id, path, sha256, n_train, n_heldout, manifest)
        VALUES (%(id)s, %(path)s, %(sha256)s, %(n_train)s, %(n_heldout)s, %(manifest)s)
    """
    params = {
        "id": dataset_id,
        "path": path,
        "sha256": sha256,
        "n_train": n_train,
        "n_heldout": n_heldout,
        "manifest": Jsonb(manifest),
    }
    conn.execute(sql, params)


def newest_dataset(conn: Connection[Any]) -> tuple[datetime, dict[str, Any]] | None:
    """Return when the newest dataset was frozen, and its manifest; None when there is none."""
    sql = "SELECT created_at, manifest FROM datasets ORDER BY created_at DESC, id DESC LIMIT 1"
    row = conn.execute(sql).fetchone()
    return None if row is None else (row[0], row[1])


def _newest_corrections(conn: Connection[Any]) -> dict[UUID, list[Correction]]:
    """Return each author's newest correction of each turn, unless it was rejected."""
    sql = """
        SELECT * FROM (
            SELECT DISTINCT ON (turn_id, author_id)
                   id, turn_id, author_id, by_admin, body, status, created_at
            FROM corrections
            ORDER BY turn_id, author_id, created_at DESC, id DESC
        ) newest
        WHERE status <> 'rejected'
        ORDER BY created_at DESC, id DESC
    """
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql).fetchall()
    found: dict[UUID, list[Correction]] = {}
    for row in rows:
        correction = Correction(**{**row, "status": CorrectionStatus(row["status"])})
        found.setdefault(correction.turn_id, []).append(correction)
    return found
