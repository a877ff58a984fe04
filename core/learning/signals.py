"""SQL of what there is to learn from: answers with their corrections, and frozen datasets."""

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
    """One finished answer with the approved corrections of it."""

    turn_id: UUID
    conversation_id: UUID
    created_at: datetime
    messages: list[Message]
    messages_sha256: str
    answer: str
    corrections: tuple[Correction, ...]  # each author's newest where it is approved; newest first


def raw_feedback(conn: Connection[Any]) -> list[FeedbackRow]:
    """
    Return every completed answer that has an approved correction, oldest first.

    Superseded turns (regenerated or edited away) are included, conversations that their owner
    deleted are not, and nothing that an ejected rater wrote. Thumbs are not read: nobody
    reviews them, so nothing is learned from them. Nor are proposed corrections, of which a
    stranger can write as many as they like.
    """
    sql = """
        SELECT t.id AS turn_id, t.conversation_id, t.created_at, t.messages, t.messages_sha256,
               t.answer
        FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE t.status = 'complete' AND c.deleted_at IS NULL AND t.id = ANY(%s)
        ORDER BY t.created_at, t.id
    """
    corrections = _approved_corrections(conn)
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql, [list(corrections)]).fetchall()
    return [FeedbackRow(**row, corrections=tuple(corrections[row["turn_id"]])) for row in rows]


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


def _approved_corrections(conn: Connection[Any]) -> dict[UUID, list[Correction]]:
    """Return each author's newest correction of each turn, where it is approved."""
    sql = """
        SELECT * FROM (
            SELECT DISTINCT ON (turn_id, author_id)
                   id, turn_id, author_id, by_admin, body, status, created_at, origin
            FROM corrections
            WHERE author_id NOT IN (SELECT rater_id FROM ejections)
            ORDER BY turn_id, author_id, created_at DESC, id DESC
        ) newest
        WHERE status = 'approved'
        ORDER BY created_at DESC, id DESC
    """
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql).fetchall()
    found: dict[UUID, list[Correction]] = {}
    for row in rows:
        correction = Correction(**{**row, "status": CorrectionStatus(row["status"])})
        found.setdefault(correction.turn_id, []).append(correction)
    return found
