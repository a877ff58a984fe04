"""SQL of ejected raters: who is out of all learning, and which adapters learned from them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection


def eject_rater(conn: Connection[Any], rater_id: UUID, actor: str, reason: str) -> bool:
    """Store that nothing is learned from this rater any more; False if that was so already."""
    sql = """
        INSERT INTO ejections (rater_id, actor, reason) VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
    """
    return conn.execute(sql, (rater_id, actor, reason)).rowcount == 1


def is_known_rater(conn: Connection[Any], rater_id: UUID) -> bool:
    """Return whether anything of this rater is stored, or was ever frozen into a dataset."""
    sql = """
        SELECT EXISTS (SELECT FROM corrections WHERE author_id = %(id)s)
            OR EXISTS (SELECT FROM feedback WHERE rater_id = %(id)s)
            OR EXISTS (SELECT FROM conversations WHERE owner_id = %(id)s)
            OR EXISTS (SELECT FROM ejections WHERE rater_id = %(id)s)
            OR EXISTS (SELECT FROM dataset_raters WHERE rater_id = %(id)s::text)
    """
    row = conn.execute(sql, {"id": rater_id}).fetchone()
    assert row is not None  # a SELECT without FROM yields one row
    return bool(row[0])


def tainted_adapters(conn: Connection[Any]) -> set[str]:
    """Return the adapters that learned from somebody who is ejected now."""
    return {row[0] for row in conn.execute("SELECT adapter FROM tainted_adapters")}


def has_unanswered_ejection(conn: Connection[Any]) -> bool:
    """Return whether somebody was ejected and no run without them was requested yet."""
    sql = "SELECT EXISTS (SELECT FROM ejections WHERE run_id IS NULL)"
    row = conn.execute(sql).fetchone()
    assert row is not None
    return bool(row[0])


def answer_ejections(conn: Connection[Any], run_id: UUID) -> None:
    """Store that this run, requested after them, is the one that learns without the ejected."""
    conn.execute("UPDATE ejections SET run_id = %s WHERE run_id IS NULL", [run_id])
