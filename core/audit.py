"""SQL: the append-only log of who did what to the product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb


class Action(StrEnum):
    """What can be done; the name is what is stored."""

    SIGNED_IN = "signed in"
    SIGN_IN_REFUSED = "sign-in refused"
    SIGNED_OUT = "signed out"
    SESSION_ENDED = "session ended"
    CORRECTION_APPROVED = "correction approved"
    CORRECTION_REJECTED = "correction rejected"
    ANSWER_PREFERRED = "preferred answer written"
    ANSWER_REVIEWED = "answer reviewed"
    ARTICLE_REMOVED = "article removed"
    INGEST_REQUESTED = "ingest requested"
    EVALUATION_REQUESTED = "evaluation requested"
    SEARCH_OPTIONS_CHANGED = "search options changed"
    TRAINING_REQUESTED = "training requested"
    JOB_CANCELLED = "job cancelled"
    ADAPTER_PROMOTED = "adapter promoted"
    ADAPTER_ROLLED_BACK = "adapter rolled back"
    RATER_EJECTED = "rater ejected"
    FEEDBACK_IMPORTED = "feedback imported"
    SETTINGS_CHANGED = "settings changed"
    SECRETS_RENEWED = "secrets renewed"
    BACKUP_MADE = "backup made"
    BACKUP_RESTORED = "backup restored"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log; `details` holds no secret and no customer's words."""

    id: int
    happened_at: datetime
    actor: str
    action: Action
    subject: str
    details: dict[str, Any]


def record(
    conn: Connection[Any], actor: str, action: Action, subject: object = "", **details: Any
) -> None:
    """Append one line in the caller's transaction: it is there if and only if the deed is."""
    sql = "INSERT INTO audit_log (actor, action, subject, details) VALUES (%s, %s, %s, %s)"
    conn.execute(sql, (actor, action.value, str(subject)[:200], Jsonb(details)))


def list_entries(conn: Connection[Any], limit: int = 50) -> list[Entry]:
    """Return the newest lines, newest first."""
    sql = """
        SELECT id, happened_at, actor, action, subject, details
        FROM audit_log ORDER BY id DESC LIMIT %s
    """
    with conn.cursor(row_factory=kwargs_row(_entry)) as cur:
        return cur.execute(sql, (limit,)).fetchall()


def _entry(*, action: str, **columns: Any) -> Entry:
    return Entry(action=Action(action), **columns)
