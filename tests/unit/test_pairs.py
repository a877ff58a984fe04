"""Which comparisons count as honest preference pairs."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.learning import FeedbackRow
from core.types import Correction, CorrectionStatus, PairKind
from training.pairs import MAX_ANSWER_CHARS, build_pairs

SPACE = UUID("00000000-0000-0000-0000-000000000001")
ANNA, BEN, CARA, ADMIN = (uuid5(SPACE, name) for name in ("anna", "ben", "cara", "admin"))
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def row(name="t1", *, question="How long?", answer="In 3 days. [1]", corrections=(), minutes=0):
    """A corrected turn in a conversation of its own."""
    return FeedbackRow(
        turn_id=uuid5(SPACE, name),
        conversation_id=uuid5(SPACE, f"conversation {name}"),
        created_at=NOON + timedelta(minutes=minutes),
        messages=[{"role": "user", "content": question}],
        messages_sha256=sha256(question.encode()).hexdigest(),
        answer=answer,
        corrections=tuple(corrections),
    )


def correction(
    body, *, author=ANNA, by_admin=False, status=CorrectionStatus.APPROVED, minutes=0, origin=""
):
    """What an answer should have said."""
    return Correction(
        id=uuid5(SPACE, f"{body} {author}"),
        turn_id=uuid5(SPACE, "t1"),
        author_id=author,
        by_admin=by_admin,
        body=body,
        status=CorrectionStatus.APPROVED if by_admin else status,
        created_at=NOON + timedelta(minutes=minutes),
        origin=origin,
    )


def texts(rows, per_rater=50, per_address=200):
    """The pairs as (chosen, rejected)."""
    pairs = build_pairs(rows, per_rater, per_address)
    return sorted((pair.chosen, pair.rejected) for pair in pairs)


def test_an_approved_correction_is_preferred_over_the_answer_it_corrects():
    """This is what a customer teaches by "what should it have said?", once an admin agrees."""
    [pair] = build_pairs([row(corrections=[correction("In 2 days. [1]")])], 50, 200)

    assert ("In 2 days. [1]", "In 3 days. [1]") == (pair.chosen, pair.rejected)
    assert (PairKind.CORRECTION, ANNA) == (pair.kind, pair.rater_id)
    assert [{"role": "user", "content": "How long?"}] == pair.messages


@pytest.mark.parametrize("status", [CorrectionStatus.PROPOSED, CorrectionStatus.REJECTED])
def test_a_correction_that_no_admin_approved_is_never_learnt(status):
    """Anybody on the internet can write one."""
    assert [] == texts([row(corrections=[correction("Buy elsewhere.", status=status)])])


def test_an_admins_own_correction_is_learnt():
    """Who may approve may also write."""
    rows = [row(corrections=[correction("In 2 days.", author=ADMIN, by_admin=True)])]

    assert [("In 2 days.", "In 3 days. [1]")] == texts(rows)


def test_an_approved_correction_wins_over_what_customers_propose():
    """What an admin decided is not diluted by the proposals it was chosen from."""
    proposals = [
        correction("Maybe 4 days.", author=BEN, status=CorrectionStatus.PROPOSED, minutes=9),
        correction("In 2 days.", author=CARA),
    ]

    assert [("In 2 days.", "In 3 days. [1]")] == texts([row(corrections=proposals)])


def test_the_newest_of_several_approved_corrections_counts():
    """An admin who corrects a correction means the last one."""
    approved = [
        correction("Old.", by_admin=True, author=ADMIN),
        correction("New.", by_admin=True, author=BEN, minutes=5),
    ]

    assert [("New.", "In 3 days. [1]")] == texts([row(corrections=approved)])


@pytest.mark.parametrize("body", ["In 3 days. [1]", "  In  3 days. [1]\n", "   "])
def test_a_correction_that_changes_nothing_is_dropped(body):
    """A pair of equal texts has no direction."""
    assert [] == texts([row(corrections=[correction(body)])])


def test_a_correction_too_long_to_serve_is_dropped():
    """It would push the prompt out of the model's context."""
    body = "x" * (MAX_ANSWER_CHARS + 1)

    assert [] == texts([row(corrections=[correction(body)])])


def test_the_same_pair_both_ways_is_dropped():
    """Two people who contradict each other cancel out."""
    rows = [
        row("a", answer="A.", corrections=[correction("B.")]),
        row("b", answer="B.", corrections=[correction("A.", author=BEN)]),
    ]

    assert [] == texts(rows)


def test_the_same_pair_from_many_people_counts_once():
    """Else a popular question would drown the others."""
    rows = [
        row(f"t{n}", corrections=[correction("B.", author=who)])
        for n, who in enumerate((ANNA, BEN, CARA))
    ]

    assert [("B.", "In 3 days. [1]")] == texts(rows)


def many(n, **who):
    """Approved corrections of different questions, each newer than the one before."""
    return [
        row(
            f"t{number}",
            question=f"Question {number}?",
            corrections=[correction(f"Answer {number}.", **who)],
            minutes=number,
        )
        for number in range(n)
    ]


def test_one_customer_gives_at_most_the_cap_and_the_newest_count():
    """A reviewer may be deceived; half a percent of poisoned pairs can steer DPO."""
    found = texts(many(5), per_rater=2)

    assert ["Answer 3.", "Answer 4."] == [chosen for chosen, _ in found]


def test_one_address_gives_at_most_the_cap_whoever_it_says_it_is():
    """A new cookie makes a new customer; a new address is harder to come by."""
    rows = [
        row(
            f"t{n}",
            question=f"Question {n}?",
            corrections=[correction(f"Answer {n}.", author=uuid5(SPACE, str(n)), origin=origin)],
            minutes=n,
        )
        for n, origin in enumerate(["home", "cafe", "cafe", "cafe", ""])
    ]

    found = texts(rows, per_address=2)

    expected = ["Answer 0.", "Answer 2.", "Answer 3.", "Answer 4."]
    assert expected == [chosen for chosen, _ in found]


def test_what_a_cap_leaves_out_uses_up_no_other_cap():
    """Else a crowded address would silence its customers' corrections from elsewhere."""
    crowded = [(n, "cafe") for n in range(3, 6)]
    rows = [
        row(
            f"t{n}",
            question=f"Question {n}?",
            corrections=[correction(f"Answer {n}.", origin=origin)],
            minutes=n,
        )
        for n, origin in [(1, "home"), (2, "home"), *crowded]
    ]

    assert 3 == len(texts(rows, per_rater=3, per_address=1) + texts(rows[:1]))


def test_admins_are_not_capped():
    """Their word is what the caps protect."""
    assert 5 == len(texts(many(5, author=ADMIN, by_admin=True, origin="office"), 2, 2))


@given(st.permutations(range(6)))
def test_the_order_of_feedback_does_not_matter(order):
    """The same feedback always gives the same pairs, with the same ids."""
    rows = [
        row(
            f"t{n}",
            question=f"Question {n % 3}?",
            answer=f"Answer {n}.",
            corrections=[correction(f"Better {n}.", author=(ANNA, BEN)[n % 2], minutes=n)],
        )
        for n in range(6)
    ]

    assert build_pairs(rows, 2, 9) == build_pairs([rows[n] for n in order], 2, 9)
