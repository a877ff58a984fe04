"""SQL of a run's attempts: each one's end, and what ended it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from core.types import TrainingAttempt

LOST = "lost"  # the outcome of an attempt whose worker vanished
VANISHED = "the worker vanished, or could not reach the database for a whole lease"


def begin_attempt(conn: Connection[Any], run_id: UUID, attempt: int) -> None:
    """Open the attempt's row; one before it that is still open is closed as lost."""
    end_attempt(conn, run_id, LOST, VANISHED)
    sql = "INSERT INTO training_attempts (run_id, attempt) VALUES (%s, %s)"
    conn.execute(sql, (run_id, attempt))


def end_attempt(conn: Connection[Any], run_id: UUID, outcome: str, reason: str) -> None:
    """Close the run's open attempt, if there is one."""
    sql = """
        UPDATE training_attempts
        SET ended_at = clock_timestamp(), outcome = %(outcome)s, reason = %(reason)s
        WHERE run_id = %(run_id)s AND ended_at IS NULL
    """
    conn.execute(sql, {"run_id": run_id, "outcome": outcome, "reason": reason})


def list_attempts(conn: Connection[Any], run_id: UUID) -> list[TrainingAttempt]:
    """Return a run's attempts in order."""
    sql = """
        SELECT attempt, started_at, ended_at, outcome, reason
        FROM training_attempts WHERE run_id = %s ORDER BY attempt
    """
    with conn.cursor(row_factory=class_row(TrainingAttempt)) as cur:
        return cur.execute(sql, [run_id]).fetchall()
