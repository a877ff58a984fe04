"""SQL: conversations; whoever asks for one names its owner."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.rows import class_row

from core.errors import NotFound
from core.types import Conversation


def create_conversation(
    conn: Connection[Any], owner_id: UUID, title: str = "", *, conversation_id: UUID | None = None
) -> Conversation:
    """Insert an empty conversation and return it; the caller owns the transaction."""
    sql = """
        INSERT INTO conversations (id, owner_id, title)
        VALUES (%(id)s, %(owner_id)s, %(title)s)
        RETURNING id, owner_id, title, created_at, updated_at
    """
    params = {"id": conversation_id or uuid4(), "owner_id": owner_id, "title": title}
    with conn.cursor(row_factory=class_row(Conversation)) as cur:
        row = cur.execute(sql, params).fetchone()
    assert row is not None  # RETURNING on an insert always yields one row
    return row


def list_conversations(
    conn: Connection[Any], owner_id: UUID, limit: int = 50
) -> list[Conversation]:
    """Return an owner's conversations that are not deleted, the last used first."""
    sql = """
        SELECT id, owner_id, title, created_at, updated_at
        FROM conversations
        WHERE owner_id = %(owner_id)s AND deleted_at IS NULL
        ORDER BY updated_at DESC, id
        LIMIT %(limit)s
    """
    with conn.cursor(row_factory=class_row(Conversation)) as cur:
        return cur.execute(sql, {"owner_id": owner_id, "limit": limit}).fetchall()


def rename_conversation(
    conn: Connection[Any], conversation_id: UUID, owner_id: UUID, title: str
) -> None:
    """
    Give a conversation another title; its place in the list stays.

    Raises:
        NotFound: No such conversation, or it is somebody else's.
    """
    sql = """
        UPDATE conversations SET title = %(title)s
        WHERE id = %(id)s AND owner_id = %(owner_id)s AND deleted_at IS NULL
    """
    params = {"id": conversation_id, "owner_id": owner_id, "title": title}
    require_found(conn.execute(sql, params).rowcount, conversation_id)


def delete_conversation(conn: Connection[Any], conversation_id: UUID, owner_id: UUID) -> None:
    """
    Take a conversation out of its owner's sight; the rows stay.

    Raises:
        NotFound: No such conversation, or it is somebody else's.
    """
    sql = """
        UPDATE conversations SET deleted_at = now()
        WHERE id = %(id)s AND owner_id = %(owner_id)s AND deleted_at IS NULL
    """
    params = {"id": conversation_id, "owner_id": owner_id}
    require_found(conn.execute(sql, params).rowcount, conversation_id)


def require_found(n_rows: int, conversation_id: UUID) -> None:
    """Raise NotFound when a statement that names an owner's conversation met no row."""
    if not n_rows:
        raise NotFound(f"no conversation {conversation_id}")
