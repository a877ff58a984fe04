"""SQL: thumbs, corrections and reviews; rows are appended, the newest counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import kwargs_row

from core.errors import InvalidInput, NotFound, TurnNotFound
from core.types import (
    Correction,
    CorrectionStatus,
    Feedback,
    Rating,
    Review,
    Verdict,
)

Said = TypeVar("Said", Correction, Feedback, Review)


def record_rating(
    conn: Connection[Any],
    turn_id: UUID,
    rater_id: UUID,
    rating: Rating,
    reasons: Iterable[str] = (),
    comment: str = "",
) -> Feedback:
    """
    Append one thumb for one answer and return the row as stored.

    Earlier thumbs by the same rater stay in the table; the view
    `current_feedback` shows the newest. The caller owns the transaction.

    Raises:
        TurnNotFound: No turn has this id.
        InvalidInput: A reason is not one of `core.types.Reason`.
    """
    sql = """
        INSERT INTO feedback (turn_id, rater_id, rating, reasons, comment)
        VALUES (%(turn_id)s, %(rater_id)s, %(rating)s, %(reasons)s::text[], %(comment)s)
        RETURNING id, turn_id, rater_id, rating, reasons, comment, rated_at
    """
    params = {
        "turn_id": turn_id,
        "rater_id": rater_id,
        "rating": rating,
        "reasons": [str(reason) for reason in reasons],
        "comment": comment,
    }
    try:
        with conn.cursor(row_factory=kwargs_row(_feedback)) as cur:
            row = cur.execute(sql, params).fetchone()
    except psycopg.errors.ForeignKeyViolation as exc:
        raise TurnNotFound(f"no turn {turn_id}") from exc
    except psycopg.errors.CheckViolation as exc:
        raise InvalidInput(f"unknown reason among {params['reasons']}") from exc
    assert row is not None  # RETURNING on an insert always yields one row
    return row


def current_rating(conn: Connection[Any], turn_id: UUID, rater_id: UUID) -> Feedback | None:
    """Return a rater's newest thumb for a turn; None when there is none or it was taken back."""
    sql = """
        SELECT id, turn_id, rater_id, rating, reasons, comment, rated_at
        FROM current_feedback WHERE turn_id = %s AND rater_id = %s
    """
    with conn.cursor(row_factory=kwargs_row(_feedback)) as cur:
        return cur.execute(sql, (turn_id, rater_id)).fetchone()


def current_ratings(
    conn: Connection[Any], conversation_id: UUID, rater_id: UUID
) -> dict[UUID, Feedback]:
    """Return a rater's thumbs in one conversation by turn id."""
    sql = """
        SELECT f.id, f.turn_id, f.rater_id, f.rating, f.reasons, f.comment, f.rated_at
        FROM turns t CROSS JOIN LATERAL (
            SELECT * FROM feedback
            WHERE turn_id = t.id AND rater_id = %(rater_id)s
            ORDER BY rated_at DESC, id DESC LIMIT 1
        ) f
        WHERE t.conversation_id = %(conversation_id)s AND f.rating <> 'cleared'
    """
    params = {"conversation_id": conversation_id, "rater_id": rater_id}
    with conn.cursor(row_factory=kwargs_row(_feedback)) as cur:
        return {row.turn_id: row for row in cur.execute(sql, params)}


def add_correction(
    conn: Connection[Any],
    turn_id: UUID,
    author_id: UUID,
    body: str,
    *,
    by_admin: bool,
    origin: str = "",
) -> Correction:
    """
    Append what an answer should have said; an admin's is approved at once.

    An author's earlier ones stay in the table; their newest counts. `origin` is a keyed hash
    of the author's address, empty where it is unknown.

    Raises:
        TurnNotFound: No turn has this id.
        InvalidInput: The text is empty.
    """
    sql = """
        INSERT INTO corrections (turn_id, author_id, by_admin, body, status, origin)
        VALUES (%(turn_id)s, %(author_id)s, %(by_admin)s, %(body)s, %(status)s, %(origin)s)
        RETURNING id, turn_id, author_id, by_admin, body, status, created_at, origin
    """
    status = CorrectionStatus.APPROVED if by_admin else CorrectionStatus.PROPOSED
    params = {
        "turn_id": turn_id,
        "author_id": author_id,
        "by_admin": by_admin,
        "body": body,
        "status": status,
        "origin": origin,
    }
    try:
        with conn.cursor(row_factory=kwargs_row(_correction)) as cur:
            row = cur.execute(sql, params).fetchone()
    except psycopg.errors.ForeignKeyViolation as exc:
        raise TurnNotFound(f"no turn {turn_id}") from exc
    except psycopg.errors.CheckViolation as exc:
        raise InvalidInput("the correction is empty; write what should have been said") from exc
    assert row is not None
    return row


def decide_correction(
    conn: Connection[Any], correction_id: UUID, status: CorrectionStatus
) -> Correction:
    """
    Approve or reject one correction and return it.

    Raises:
        NotFound: No correction has this id.
    """
    sql = """
        UPDATE corrections SET status = %(status)s WHERE id = %(id)s
        RETURNING id, turn_id, author_id, by_admin, body, status, created_at, origin
    """
    with conn.cursor(row_factory=kwargs_row(_correction)) as cur:
        row = cur.execute(sql, {"id": correction_id, "status": status}).fetchone()
    if row is None:
        raise NotFound(f"no correction {correction_id}")
    return row


def corrections_of(conn: Connection[Any], turn_id: UUID) -> list[Correction]:
    """Return all corrections of a turn, newest first."""
    return corrections_by_turn(conn, [turn_id])[turn_id]


def record_review(
    conn: Connection[Any], turn_id: UUID, verdict: Verdict, note: str, reviewer_id: UUID
) -> None:
    """
    Append what an admin found to be at fault in an answer.

    Raises:
        TurnNotFound: No turn has this id.
    """
    sql = """
        INSERT INTO reviews (turn_id, verdict, note, reviewer_id) VALUES (%s, %s, %s, %s)
    """
    try:
        conn.execute(sql, (turn_id, verdict, note, reviewer_id))
    except psycopg.errors.ForeignKeyViolation as exc:
        raise TurnNotFound(f"no turn {turn_id}") from exc


def disliked_turns(conn: Connection[Any]) -> dict[UUID, bool]:
    """
    Return the answers that somebody dislikes now, and whether each was reviewed.

    The latest dislike comes first; deleted conversations are left out.
    """
    sql = """
        SELECT d.turn_id, EXISTS (SELECT FROM reviews r WHERE r.turn_id = d.turn_id)
        FROM (SELECT turn_id, max(rated_at) AS disliked_at FROM current_feedback
              WHERE rating = 'down' GROUP BY turn_id) d
        JOIN turns t ON t.id = d.turn_id
        JOIN conversations c ON c.id = t.conversation_id AND c.deleted_at IS NULL
        ORDER BY d.disliked_at DESC, d.turn_id
    """
    return dict(conn.execute(sql).fetchall())


def count_ratings(conn: Connection[Any]) -> dict[Rating, int]:
    """Return how many current thumbs point up and down."""
    sql = "SELECT rating, count(*) FROM current_feedback GROUP BY rating"
    found = dict(conn.execute(sql).fetchall())
    return {rating: found.get(rating.value, 0) for rating in (Rating.UP, Rating.DOWN)}


def thumbs_by_turn(
    conn: Connection[Any], turn_ids: Sequence[UUID]
) -> defaultdict[UUID, list[Feedback]]:
    """Return each rater's newest thumb unless it was taken back, newest first."""
    sql = """
        SELECT id, turn_id, rater_id, rating, reasons, comment, rated_at
        FROM current_feedback WHERE turn_id = ANY(%s)
        ORDER BY rated_at DESC, id DESC
    """
    with conn.cursor(row_factory=kwargs_row(_feedback)) as cur:
        return _by_turn(cur.execute(sql, (list(turn_ids),)))


def corrections_by_turn(
    conn: Connection[Any], turn_ids: Sequence[UUID]
) -> defaultdict[UUID, list[Correction]]:
    """Return all corrections of these turns, newest first."""
    sql = """
        SELECT id, turn_id, author_id, by_admin, body, status, created_at, origin
        FROM corrections WHERE turn_id = ANY(%s) ORDER BY created_at DESC, id DESC
    """
    with conn.cursor(row_factory=kwargs_row(_correction)) as cur:
        return _by_turn(cur.execute(sql, (list(turn_ids),)))


def reviews_by_turn(
    conn: Connection[Any], turn_ids: Sequence[UUID]
) -> defaultdict[UUID, list[Review]]:
    """Return all reviews of these turns, newest first."""
    sql = """
        SELECT id, turn_id, reviewer_id, verdict, note, created_at
        FROM reviews WHERE turn_id = ANY(%s) ORDER BY created_at DESC, id DESC
    """
    with conn.cursor(row_factory=kwargs_row(_review)) as cur:
        return _by_turn(cur.execute(sql, (list(turn_ids),)))


def _by_turn(rows: Iterable[Said]) -> defaultdict[UUID, list[Said]]:
    grouped: defaultdict[UUID, list[Said]] = defaultdict(list)
    for row in rows:
        grouped[row.turn_id].append(row)
    return grouped


def _feedback(**columns: Any) -> Feedback:
    return Feedback(**{**columns, "rating": Rating(columns["rating"])})


def _correction(**columns: Any) -> Correction:
    return Correction(**{**columns, "status": CorrectionStatus(columns["status"])})


def _review(**columns: Any) -> Review:
    return Review(**{**columns, "verdict": Verdict(columns["verdict"])})
