"""Thumbs, corrections and reviews: what counts, whose they may be, what an admin gets to see."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from bot.chat.feedback import MAX_COMMENT_CHARS, correct, rate
from core.conversations import delete_conversation
from core.errors import InvalidInput, NotFound, TurnNotFound
from core.feedback import (
    add_correction,
    corrections_of,
    count_ratings,
    current_rating,
    current_ratings,
    decide_correction,
    disliked_turns,
    record_rating,
    record_review,
)
from core.types import CorrectionStatus, Rating, Reason, TurnStatus, Verdict
from tests.builders import ADMIN, ANNA, BEN, make_rating, make_turn


@pytest.fixture
def turn(database):
    """An answered question of Anna's, committed."""
    with database.connect() as conn:
        return make_turn(conn, owner_id=ANNA)


def n_thumbs(database):
    with database.connect() as conn:
        return conn.execute("SELECT count(*) FROM feedback").fetchone()[0]


def test_a_thumb_is_committed_when_rate_returns(database, dsn, turn):
    """The page says thanks next; a crash after that must lose nothing."""
    rate(database, ANNA, turn.id, Rating.UP)

    with psycopg.connect(dsn) as elsewhere:
        assert [("up",)] == elsewhere.execute("SELECT rating FROM feedback").fetchall()


def test_a_second_thumb_replaces_the_first(database, turn):
    """A customer who changes their mind is counted once."""
    rate(database, ANNA, turn.id, Rating.UP)
    rate(database, ANNA, turn.id, Rating.DOWN)

    with database.connect() as conn:
        assert {Rating.UP: 0, Rating.DOWN: 1} == count_ratings(conn)
    assert 2 == n_thumbs(database)


def test_a_double_click_is_stored_once(database, turn):
    """Gradio sends some clicks twice."""
    first = rate(database, ANNA, turn.id, Rating.DOWN, ["incorrect"], "no")

    assert first == rate(database, ANNA, turn.id, Rating.DOWN, ["incorrect"], " no ")
    assert 1 == n_thumbs(database)


def test_clicks_at_the_very_same_time_are_counted_once(database, turn):
    """Two tabs, one opinion."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rate(database, ANNA, turn.id, Rating.UP), range(8)))

    with database.connect() as conn:
        assert {Rating.UP: 1, Rating.DOWN: 0} == count_ratings(conn)


def test_a_thumb_taken_back_does_not_count(database, turn):
    """Nor does it come back after a reload."""
    rate(database, ANNA, turn.id, Rating.DOWN)
    rate(database, ANNA, turn.id, Rating.CLEARED)

    with database.connect() as conn:
        assert current_rating(conn, turn.id, ANNA) is None
        assert {} == current_ratings(conn, turn.conversation_id, ANNA)


def test_a_correction_keeps_whence_it_came(database, turn):
    """The cap for each address counts it; an admin's is approved at once."""
    correct(database, ANNA, turn.id, "Within 45 days.", origin="5f3a")
    correct(database, ANNA, turn.id, "Within 45 days.", by_admin=True)

    with database.connect() as conn:
        newest, first = corrections_of(conn, turn.id)
    assert ("5f3a", CorrectionStatus.PROPOSED) == (first.origin, first.status)
    assert ("", CorrectionStatus.APPROVED) == (newest.origin, newest.status)


def test_several_reasons_and_a_comment_are_kept(database, turn):
    """They tell the admin where to look."""
    reasons = [Reason.INCORRECT, Reason.OUTDATED]

    rate(database, ANNA, turn.id, Rating.DOWN, reasons, "It was \0 45 days 🙂")

    with database.connect() as conn:
        thumb = current_rating(conn, turn.id, ANNA)
    assert {"incorrect", "outdated"} == set(thumb.reasons)
    assert "It was  45 days 🙂" == thumb.comment


@pytest.mark.parametrize(
    "act",
    [
        lambda db, who, turn_id: rate(db, who, turn_id, Rating.UP),
        lambda db, who, turn_id: correct(db, who, turn_id, "Within 45 days."),
    ],
    ids=["rate", "correct"],
)
def test_somebody_elses_turn_can_be_neither_rated_nor_corrected(database, turn, act):
    """Else one visitor could teach the bot what to tell the others."""
    with pytest.raises(TurnNotFound) as not_yours:
        act(database, BEN, turn.id)
    absent_id = uuid4()
    with pytest.raises(TurnNotFound) as absent:
        act(database, ANNA, absent_id)

    assert str(not_yours.value).replace(str(turn.id), "") == str(absent.value).replace(
        str(absent_id), ""
    )
    assert 0 == n_thumbs(database)


@pytest.mark.parametrize("status", [TurnStatus.STREAMING, TurnStatus.FAILED])
def test_only_an_answer_that_is_there_can_be_rated(database, status):
    """A thumb for half a sentence says nothing about the whole."""
    with database.connect() as conn:
        turn = make_turn(conn, status=status)

    with pytest.raises(InvalidInput):
        rate(database, ANNA, turn.id, Rating.DOWN)


def test_an_unknown_reason_is_refused_with_the_known_ones(database, turn):
    """An imported file's author needs to know what is allowed."""
    with pytest.raises(InvalidInput, match=r"unknown reason 'ugly'.*incorrect"):
        rate(database, ANNA, turn.id, Rating.DOWN, ["ugly"])
    with database.connect() as conn, pytest.raises(InvalidInput):
        record_rating(conn, turn.id, ANNA, Rating.DOWN, ["ugly"])


def test_a_megabyte_of_comment_is_refused(database, turn):
    """The table is for opinions."""
    with pytest.raises(InvalidInput, match=f"{MAX_COMMENT_CHARS:,}"):
        rate(database, ANNA, turn.id, Rating.DOWN, comment="x" * 1_000_000)


@pytest.mark.parametrize("body", ["", "  \n", "\0"])
def test_an_empty_correction_is_refused(database, turn, body):
    """An empty preferred answer would teach silence."""
    with pytest.raises(InvalidInput, match="empty"):
        correct(database, ANNA, turn.id, body)


def test_a_customers_correction_waits_for_an_admin(database, turn):
    """Nobody should be able to teach the bot alone."""
    proposed = correct(database, ANNA, turn.id, "Within 45 days.")

    assert CorrectionStatus.PROPOSED is proposed.status
    with database.connect() as conn:
        approved = decide_correction(conn, proposed.id, CorrectionStatus.APPROVED)
    assert CorrectionStatus.APPROVED is approved.status


def test_an_admins_correction_is_approved_at_once(conn):
    """Their word is the decision."""
    written = add_correction(conn, make_turn(conn).id, ADMIN, "Within 45 days.", by_admin=True)

    assert CorrectionStatus.APPROVED is written.status


def test_the_newest_correction_stands_first(database, turn):
    """People correct their corrections."""
    correct(database, ANNA, turn.id, "Within 40 days.")
    correct(database, ANNA, turn.id, "Within 45 days.")
    correct(database, ANNA, turn.id, "Within 45 days.")

    with database.connect() as conn:
        bodies = [correction.body for correction in corrections_of(conn, turn.id)]
    assert ["Within 45 days.", "Within 40 days."] == bodies


def test_an_unknown_correction_can_not_be_decided(conn):
    """The list on the admin's page may be old."""
    with pytest.raises(NotFound, match="no correction"):
        decide_correction(conn, uuid4(), CorrectionStatus.APPROVED)


@pytest.mark.parametrize(
    "write",
    [
        lambda conn, turn_id: record_rating(conn, turn_id, ANNA, Rating.UP),
        lambda conn, turn_id: add_correction(conn, turn_id, ANNA, "x", by_admin=False),
        lambda conn, turn_id: record_review(conn, turn_id, Verdict.ANSWER_FINE, "", ADMIN),
    ],
    ids=["rating", "correction", "review"],
)
def test_nothing_can_be_said_of_a_turn_that_is_not_there(database, write):
    """The foreign key speaks; we translate."""
    with pytest.raises(TurnNotFound), database.connect() as conn:
        write(conn, uuid4())


def test_the_review_queue_holds_what_is_disliked_now(database):
    """A thumb turned up again, and a deleted talk, are nobody's business any more."""
    with database.connect() as conn:
        disliked = make_turn(conn)
        turned_up = make_turn(conn)
        deleted = make_turn(conn)
        for each in (disliked, turned_up, deleted):
            make_rating(conn, each, reasons=["incorrect"], comment="no")
        make_rating(conn, turned_up, rating=Rating.UP)
        delete_conversation(conn, deleted.conversation_id, ANNA)

        queue = disliked_turns(conn)

    assert {disliked.id: False} == queue


def test_thumbs_of_a_conversation_are_the_raters_own(database, turn):
    """The page lights the thumbs of the one who looks at it."""
    rate(database, ANNA, turn.id, Rating.DOWN)
    with database.connect() as conn:
        record_rating(conn, turn.id, ADMIN, Rating.UP)

        thumbs = current_ratings(conn, turn.conversation_id, ANNA)

    assert {turn.id: Rating.DOWN} == {key: thumb.rating for key, thumb in thumbs.items()}
