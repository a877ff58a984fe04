"""What counts for learning, of all that people said, and why the rest does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.learning import AnswerFeedback
from core.types import (
    Correction,
    CorrectionStatus,
    Feedback,
    Rating,
    Review,
    TurnStatus,
    Verdict,
)
from training.examples import build_examples
from training.signals import MAX_ANSWER_CHARS, Caps, WhyNot, weigh

SPACE = UUID("00000000-0000-0000-0000-000000000001")
ANNA, BEN, CARA, ADMIN = (uuid5(SPACE, name) for name in ("anna", "ben", "cara", "admin"))
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def row(
    name="t1",
    *,
    question="How long?",
    answer="In 3 days. [1]",
    corrections=(),
    minutes=0,
    **fields,
):
    """A corrected turn in a conversation of its own."""
    return AnswerFeedback(
        **{"status": TurnStatus.COMPLETE, "is_deleted": False, **fields},
        turn_id=uuid5(SPACE, name),
        conversation_id=uuid5(SPACE, f"conversation {name}"),
        created_at=NOON + timedelta(minutes=minutes),
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


def examples(rows, per_rater=50, per_address=200):
    """What is learned from these rows, each of which was asked with one message."""
    prompts = {row.turn_id: [{"role": "user", "content": row.messages_sha256}] for row in rows}
    return build_examples(weigh(rows, Caps(per_rater, per_address)), prompts)


def texts(rows, per_rater=50, per_address=200):
    """The examples as (chosen, rejected)."""
    return sorted(
        (example.columns["chosen"][0]["content"], example.columns["rejected"][0]["content"])
        for example in examples(rows, per_rater, per_address)
    )


def reasons(rows, per_rater=50, per_address=200):
    """Why each correction does not count, by its text; None where it counts."""
    return {
        signal.said.body: signal.why_not
        for answer in weigh(rows, Caps(per_rater, per_address))
        for signal in answer.corrections
    }


def test_an_approved_correction_is_preferred_over_the_answer_it_corrects():
    """This is what a customer teaches by "what should it have said?", once an admin agrees."""
    rows = [row(corrections=[correction("In 2 days. [1]")])]
    [example] = examples(rows)

    assert [("In 2 days. [1]", "In 3 days. [1]")] == texts(rows)
    assert ("dpo", (ANNA,), 1.0) == (example.objective, example.raters, example.weight)
    assert [{"role": "user", "content": rows[0].messages_sha256}] == example.prompt


def test_the_same_comparison_keeps_the_id_it_always_had():
    """Datasets of the first version name it; with another id all of them would count as new."""
    [example] = examples([row(corrections=[correction(" In 2  days. [1]")])])

    assert UUID("7ff0eb16-fc82-5593-8272-00c43f2c96d4") == example.id


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

    assert examples(rows, 2, 9) == examples([rows[n] for n in order], 2, 9)


# Why not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why_not"),
    [
        ({"is_deleted": True}, WhyNot.DELETED),
        ({"status": TurnStatus.STOPPED}, WhyNot.NOT_COMPLETE),
        ({"ejected": frozenset([ANNA])}, WhyNot.EJECTED),
        ({"answer": " \n"}, WhyNot.EMPTY),
        ({"answer": "In  2 days."}, WhyNot.SAME_TEXT),
        ({}, None),
    ],
)
def test_an_approved_correction_says_what_of_its_answer_keeps_it_out(change, why_not):
    """An admin who approved it and sees no effect must be told why."""
    rows = [replace(row(corrections=[correction("In 2 days.")]), **change)]

    assert {"In 2 days.": why_not} == reasons(rows)
    assert [] == texts(rows) or why_not is None


def test_each_correction_of_one_answer_says_why_it_is_left_out():
    """The desk shows exactly this beside each of them."""
    said = [
        correction("Mine.", minutes=1),
        correction("Mine, better.", minutes=2),
        correction("Not read.", author=BEN, status=CorrectionStatus.PROPOSED, minutes=3),
        correction("No.", author=CARA, status=CorrectionStatus.REJECTED, minutes=4),
        correction("The team's.", author=ADMIN, by_admin=True, minutes=5),
    ]

    assert {
        "Mine.": WhyNot.REPLACED,
        "Mine, better.": WhyNot.NEWER_APPROVED,
        "Not read.": WhyNot.NOT_REVIEWED,
        "No.": WhyNot.REJECTED,
        "The team's.": None,
    } == reasons([row(corrections=said)])


def test_a_too_long_text_is_measured_as_it_is_compared():
    """White space that nobody sees must not keep a correction out; the desk said it did."""
    fits = f"x{' ' * MAX_ANSWER_CHARS}y"

    assert {fits: None} == reasons([row(corrections=[correction(fits)])])
    longer = "x" * (MAX_ANSWER_CHARS + 1)
    assert {longer: WhyNot.TOO_LONG} == reasons([row(corrections=[correction(longer)])])


def test_a_repeat_and_a_contradiction_name_the_other_one():
    """Whoever looks at one of them wants to see the other."""
    same = [
        row("a", corrections=[correction("B.")]),
        row("b", corrections=[correction("B.", author=BEN)], minutes=1),
    ]
    against = [
        row("a", answer="A.", corrections=[correction("B.")]),
        row("b", answer="B.", corrections=[correction("A.", author=BEN)]),
    ]

    kept, repeat = (answer.corrections[0] for answer in weigh(same, Caps(50, 200)))
    one, other = (answer.corrections[0] for answer in weigh(against, Caps(50, 200)))
    assert (None, WhyNot.DUPLICATE, kept.said.id) == (kept.why_not, repeat.why_not, repeat.other)
    assert [WhyNot.CONTRADICTED] * 2 == [one.why_not, other.why_not]
    assert (other.said.id, one.said.id) == (one.other, other.other)


def test_what_a_cap_leaves_out_says_which_cap():
    """An author's hundredth correction is not worse than the first; it is just enough."""
    by_rater = reasons(many(3), per_rater=2)
    by_address = reasons(many(3, origin="cafe"), per_address=2)

    assert [WhyNot.RATER_CAP, None, None] == [by_rater[f"Answer {n}."] for n in range(3)]
    assert [WhyNot.ADDRESS_CAP, None, None] == [by_address[f"Answer {n}."] for n in range(3)]


def test_thumbs_and_verdicts_are_shown_and_never_train():
    """A like is as easily made as a cookie, and a verdict does not say what is better."""
    thumb = Feedback(ANNA, uuid5(SPACE, "t1"), ANNA, Rating.DOWN, ["tone"], "Rude!", NOON)
    review = Review(BEN, uuid5(SPACE, "t1"), ADMIN, Verdict.TONE_OR_POLICY, "indeed", NOON)

    [signals] = weigh([row(thumbs=(thumb,), reviews=(review,))], Caps(50, 200))

    assert [(thumb, WhyNot.THUMB)] == [(s.said, s.why_not) for s in signals.thumbs]
    assert [(review, WhyNot.VERDICT)] == [(s.said, s.why_not) for s in signals.reviews]
    assert signals.counting is None
