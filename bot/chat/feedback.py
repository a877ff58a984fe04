"""Rate and correct: the rules behind the buttons under an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from psycopg import Connection

from core.db import Database
from core.errors import InvalidInput, TurnNotFound
from core.feedback import add_correction, corrections_of, current_rating, record_rating
from core.text import storable_text
from core.turns import get_turn, turn_owner
from core.types import Correction, Feedback, Rating, Reason, TurnStatus

MAX_COMMENT_CHARS = 2_000
MAX_CORRECTION_CHARS = 2_000  # training.pairs learns from nothing longer


def rate(
    db: Database,
    rater_id: UUID,
    turn_id: UUID,
    rating: Rating,
    reasons: Iterable[str] = (),
    comment: str = "",
) -> Feedback:
    """
    Store one thumb for the asker's own answer; it is committed when this returns.

    The same thumb given again (a double click) is stored once.

    Raises:
        TurnNotFound: No such turn, or it is somebody else's.
        InvalidInput: The answer is not there to be rated, or a reason is unknown.
    """
    why = sorted(_known_reasons(reasons))
    said = _written(comment, MAX_COMMENT_CHARS, "the comment")
    with db.connect() as conn:
        _check_rateable(conn, turn_id, rater_id)
        last = current_rating(conn, turn_id, rater_id)
        if last and (last.rating, sorted(last.reasons), last.comment) == (rating, why, said):
            return last
        return record_rating(conn, turn_id, rater_id, rating, why, said)


def correct(
    db: Database,
    author_id: UUID,
    turn_id: UUID,
    body: str,
    *,
    by_admin: bool = False,
    origin: str = "",
) -> Correction:
    """
    Store what the asker's own answer should have said; the same text again is stored once.

    A customer's waits until an admin approves it. `origin` is a keyed hash of their address.

    Raises:
        TurnNotFound: No such turn, or it is somebody else's.
        InvalidInput: The text is empty or too long.
    """
    said = _written(body, MAX_CORRECTION_CHARS, "the correction")
    if not said:
        raise InvalidInput("the correction is empty; write what should have been said")
    with db.connect() as conn:
        _check_rateable(conn, turn_id, author_id)
        own = [each for each in corrections_of(conn, turn_id) if each.author_id == author_id]
        if own and (own[0].body, own[0].by_admin) == (said, by_admin):
            return own[0]
        return add_correction(conn, turn_id, author_id, said, by_admin=by_admin, origin=origin)


def _check_rateable(conn: Connection[Any], turn_id: UUID, person_id: UUID) -> None:
    if turn_owner(conn, turn_id) != person_id:
        # The same words as for a turn that does not exist: ids can't be probed.
        raise TurnNotFound(f"no turn {turn_id}")
    status = get_turn(conn, turn_id).status
    if status is TurnStatus.STREAMING:
        raise InvalidInput("this answer is still being written; rate it when it is done")
    if status is TurnStatus.FAILED:
        raise InvalidInput("this answer failed; there is nothing to rate")


def _known_reasons(reasons: Iterable[str]) -> set[str]:
    given = {str(reason) for reason in reasons}
    if unknown := given - {reason.value for reason in Reason}:
        raise InvalidInput(f"unknown reason {min(unknown)!r}; choose among {', '.join(Reason)}")
    return given


def _written(text: str, max_chars: int, what: str) -> str:
    said = storable_text(text).strip()
    if len(said) > max_chars:
        raise InvalidInput(f"{what} has {len(said):,} characters; at most {max_chars:,} are kept")
    return said
