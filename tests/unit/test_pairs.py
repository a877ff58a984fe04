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


def row(
    name="t1",
    *,
    question="How long?",
    answer="In 3 days. [1]",
    liked_by=(),
    disliked_by=(),
    corrections=(),
    minutes=0,
):
    """A rated turn in a conversation of its own."""
    return FeedbackRow(
        turn_id=uuid5(SPACE, name),
        conversation_id=uuid5(SPACE, f"conversation {name}"),
        created_at=NOON + timedelta(minutes=minutes),
        messages=[{"role": "user", "content": question}],
        messages_sha256=sha256(question.encode()).hexdigest(),
        answer=answer,
        liked_by=tuple(liked_by),
        disliked_by=tuple(disliked_by),
        corrections=tuple(corrections),
    )


def correction(body, *, author=ANNA, by_admin=False, status=CorrectionStatus.PROPOSED, minutes=0):
    """What an answer should have said."""
    return Correction(
        id=uuid5(SPACE, f"{body} {author}"),
        turn_id=uuid5(SPACE, "t1"),
        author_id=author,
        by_admin=by_admin,
        body=body,
        status=CorrectionStatus.APPROVED if by_admin else status,
        created_at=NOON + timedelta(minutes=minutes),
    )


def texts(rows, cap=50):
    """The pairs as (chosen, rejected)."""
    return sorted((pair.chosen, pair.rejected) for pair in build_pairs(rows, cap))


def test_a_correction_is_preferred_over_the_answer_it_corrects():
    """This is what a customer teaches by "what should it have said?"."""
    [pair] = build_pairs([row(disliked_by=[ANNA], corrections=[correction("In 2 days. [1]")])], 50)

    assert ("In 2 days. [1]", "In 3 days. [1]") == (pair.chosen, pair.rejected)
    assert (PairKind.CORRECTION, ANNA) == (pair.kind, pair.rater_id)
    assert [{"role": "user", "content": "How long?"}] == pair.messages


def test_a_customers_correction_of_an_answer_nobody_disliked_is_not_used():
    """A customer who took the dislike back has taken the correction's ground away."""
    assert [] == texts([row(liked_by=[ANNA], corrections=[correction("In 2 days.")])])


def test_an_admins_correction_needs_no_dislike():
    """Admins correct answers that customers accepted."""
    rows = [row(corrections=[correction("In 2 days.", author=ADMIN, by_admin=True)])]

    assert [("In 2 days.", "In 3 days. [1]")] == texts(rows)


def test_an_approved_correction_wins_over_what_customers_propose():
    """What an admin decided is not diluted by the proposals it was chosen from."""
    proposals = [
        correction("Maybe 4 days.", author=BEN),
        correction("In 2 days.", author=CARA, status=CorrectionStatus.APPROVED),
    ]

    assert [("In 2 days.", "In 3 days. [1]")] == texts(
        [row(disliked_by=[BEN], corrections=proposals)]
    )


def test_the_newest_of_several_approved_corrections_counts():
    """An admin who corrects a correction means the last one."""
    approved = [
        correction("Old.", by_admin=True, author=ADMIN),
        correction("New.", by_admin=True, author=BEN, minutes=5),
    ]

    assert [("New.", "In 3 days. [1]")] == texts([row(corrections=approved)])


def test_a_rejected_correction_is_never_learnt():
    """An admin's no is final."""
    rejected = correction("Buy elsewhere.", status=CorrectionStatus.REJECTED)

    assert [] == texts([row(disliked_by=[ANNA], corrections=[rejected])])


def test_proposed_corrections_count_before_anybody_reviewed_them():
    """The loop learns without an admin at hand; the gate and the cap guard it."""
    rows = [row(disliked_by=[ANNA], corrections=[correction("A."), correction("B.", author=BEN)])]

    assert [("A.", "In 3 days. [1]"), ("B.", "In 3 days. [1]")] == texts(rows)


@pytest.mark.parametrize("body", ["In 3 days. [1]", "  In  3 days. [1]\n", "   "])
def test_a_correction_that_changes_nothing_is_dropped(body):
    """A pair of equal texts has no direction."""
    assert [] == texts([row(disliked_by=[ANNA], corrections=[correction(body)])])


def test_a_correction_too_long_to_serve_is_dropped():
    """It would push the prompt out of the model's context."""
    body = "x" * (MAX_ANSWER_CHARS + 1)

    assert [] == texts([row(disliked_by=[ANNA], corrections=[correction(body)])])


def test_a_liked_answer_is_preferred_over_a_disliked_one_to_the_same_messages():
    """Regenerating gives two answers to one prompt: the honest comparison."""
    rows = [
        row("bad", answer="Dunno.", disliked_by=[ANNA]),
        row("good", answer="In 3 days.", liked_by=[ANNA], minutes=1),
    ]

    [pair] = build_pairs(rows, 50)

    assert ("In 3 days.", "Dunno.") == (pair.chosen, pair.rejected)
    assert PairKind.LIKED_OVER_DISLIKED == pair.kind


def test_answers_to_different_questions_are_never_compared():
    """A good answer here says nothing about a bad one there."""
    rows = [
        row("bad", question="Where?", answer="Dunno.", disliked_by=[ANNA]),
        row("good", question="How long?", answer="In 3 days.", liked_by=[ANNA]),
    ]

    assert [] == texts(rows)


def test_an_answer_both_liked_and_disliked_says_nothing():
    """People disagree; the trainer is told neither."""
    rows = [
        row("mixed", answer="Dunno.", liked_by=[BEN], disliked_by=[ANNA]),
        row("good", answer="In 3 days.", liked_by=[ANNA]),
        row("bad", answer="No.", disliked_by=[BEN]),
    ]

    assert [("In 3 days.", "No.")] == texts(rows)


def test_the_same_pair_both_ways_is_dropped():
    """Two people who contradict each other cancel out."""
    rows = [
        row("a", answer="A.", disliked_by=[ANNA], corrections=[correction("B.")]),
        row("b", answer="B.", disliked_by=[BEN], corrections=[correction("A.", author=BEN)]),
    ]

    assert [] == texts(rows)


def test_the_same_pair_from_many_people_counts_once():
    """Else a popular question would drown the others."""
    rows = [
        row(f"t{n}", disliked_by=[who], corrections=[correction("B.", author=who)])
        for n, who in enumerate((ANNA, BEN, CARA))
    ]

    assert [("B.", "In 3 days. [1]")] == texts(rows)


def test_one_rater_gives_at_most_the_cap_and_the_newest_count():
    """Half a percent of poisoned pairs can steer DPO, so nobody gets many."""
    rows = [
        row(
            f"t{n}",
            question=f"Question {n}?",
            disliked_by=[ANNA],
            corrections=[correction(f"Answer {n}.")],
            minutes=n,
        )
        for n in range(5)
    ]

    assert ["Answer 3.", "Answer 4."] == [chosen for chosen, _ in texts(rows, cap=2)]


def test_a_pair_of_two_people_counts_for_both():
    """Else a second account would lift the cap."""
    rows = [
        row("good1", question="1?", answer="A.", liked_by=[ANNA], minutes=9),
        row("bad1", question="1?", answer="B.", disliked_by=[BEN], minutes=9),
        row("good2", question="2?", answer="A.", liked_by=[CARA]),
        row("bad2", question="2?", answer="B.", disliked_by=[BEN]),
    ]

    assert 1 == len(texts(rows, cap=1))


@given(st.permutations(range(6)))
def test_the_order_of_feedback_does_not_matter(order):
    """The same feedback always gives the same pairs, with the same ids."""
    rows = [
        row(
            f"t{n}",
            question=f"Question {n % 3}?",
            answer=f"Answer {n}.",
            liked_by=[ANNA] if n < 3 else [],
            disliked_by=[] if n < 3 else [BEN],
        )
        for n in range(6)
    ]

    assert build_pairs(rows, 50) == build_pairs([rows[n] for n in order], 50)
