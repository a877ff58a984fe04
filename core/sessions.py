"""SQL: sign-ins to the desk, each a row that can be ended; the cookie holds its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.rows import class_row

from core.errors import NotFound


@dataclass(frozen=True, slots=True)
class DeskSession:
    """One sign-in that has neither ended nor expired."""

    id: UUID
    person: str
    address: str
    user_agent: str
    created_at: datetime
    expires_at: datetime


def open_session(
    conn: Connection[Any],
    person: str,
    *,
    password_mark: str,
    lifetime_s: float,
    address: str,
    user_agent: str,
) -> UUID:
    """Store a sign-in for `lifetime_s` seconds and return its id, which nobody can guess."""
    sql = """
        INSERT INTO sessions (id, person, password_mark, address, user_agent, expires_at)
        VALUES (%(id)s, %(person)s, %(mark)s, %(address)s, %(user_agent)s,
                clock_timestamp() + make_interval(secs => %(lifetime_s)s))
    """
    session_id = uuid4()
    params = {
        "id": session_id,
        "person": person,
        "mark": password_mark,
        "address": address,
        "user_agent": user_agent[:200],
        "lifetime_s": lifetime_s,
    }
    conn.execute(sql, params)
    return session_id


def find_session(conn: Connection[Any], session_id: UUID, password_mark: str) -> DeskSession | None:
    """Return the sign-in if it still counts: not ended, not expired, of today's password."""
    sql = """
        SELECT id, person, address, user_agent, created_at, expires_at FROM sessions
        WHERE id = %s AND password_mark = %s
          AND ended_at IS NULL AND expires_at > clock_timestamp()
    """
    with conn.cursor(row_factory=class_row(DeskSession)) as cur:
        return cur.execute(sql, (session_id, password_mark)).fetchone()


def list_sessions(conn: Connection[Any]) -> list[DeskSession]:
    """Return the sign-ins that have neither ended nor expired, newest first."""
    sql = """
        SELECT id, person, address, user_agent, created_at, expires_at FROM sessions
        WHERE ended_at IS NULL AND expires_at > clock_timestamp()
        ORDER BY created_at DESC, id
    """
    with conn.cursor(row_factory=class_row(DeskSession)) as cur:
        return cur.execute(sql).fetchall()


def end_session(conn: Connection[Any], session_id: UUID) -> None:
    """
    End one sign-in: whoever holds its cookie, or a copy of it, must sign in again.

    Raises:
        NotFound: There is no open session of this id.
    """
    sql = "UPDATE sessions SET ended_at = clock_timestamp() WHERE id = %s AND ended_at IS NULL"
    if not conn.execute(sql, (session_id,)).rowcount:
        raise NotFound(f"no open session {session_id}; `ratchet sessions` lists them")
