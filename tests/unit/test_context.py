"""What was found becomes what the model reads: no repeats, whole sections, the best outside."""

from dataclasses import replace
from uuid import UUID

from retrieval.context import best_first_and_last, tidy
from tests.builders import make_passage

GUIDE, PRICES = UUID(int=1), UUID(int=2)


def passage(rank, body, *, document=GUIDE, position=None, heading="Care"):
    made = make_passage(rank, body=body, title="Pans", heading=heading)
    return replace(made, document_id=document, position=position)


def bodies(passages):
    return [each.body for each in passages]


def test_a_passage_that_says_the_same_gives_its_place_to_the_next():
    """Three copies of one article are one source."""
    said = "Wipe the pan with a paper towel after each and every use of it."
    found = [passage(1, said), passage(2, said.upper()), passage(3, "Never soak it.")]

    assert [said, "Never soak it."] == bodies(tidy(found, 2))


def test_another_number_is_another_thing_said():
    """Last year's price next to this year's is no repeat: the customer needs the right one."""
    found = [passage(1, "A class costs $40 a seat."), passage(2, "A class costs $45 a seat.")]

    assert 2 == len(tidy(found, 3))


def test_the_same_words_under_another_heading_are_kept():
    """ "It takes 3 days" may be about delivery or about refunds."""
    found = [
        passage(1, "It takes three days.", heading="Delivery"),
        passage(2, "It takes three days.", heading="Refunds"),
    ]

    assert 2 == len(tidy(found, 3))


def test_parts_of_one_section_side_by_side_become_one_passage_in_the_order_of_the_text():
    """A list that was cut in the middle reads as one list again, and is cited by one number."""
    found = [
        passage(1, "second part", position=5),
        passage(2, "elsewhere", document=PRICES, position=6),
        passage(3, "first part", position=4),
    ]

    [joined, other] = tidy(found, 2)

    assert ("first part\n\nsecond part", 1) == (joined.body, joined.rank)
    assert ("elsewhere", 2) == (other.body, other.rank)


def test_parts_of_different_sections_stay_apart():
    """Each is shown under its own heading."""
    found = [
        passage(1, "soap", position=1, heading="Washing"),
        passage(2, "oil", position=2, heading="Seasoning"),
    ]

    assert ["soap", "oil"] == bodies(tidy(found, 2))


def test_a_far_neighbour_does_not_swell_the_prompt():
    """With one passage asked for, only the second best may join it."""
    found = [passage(n, f"part {n}", position=n) for n in range(1, 6)]

    assert ["part 1\n\npart 2"] == bodies(tidy(found, 1))


def test_the_best_passage_stands_first_and_the_second_best_last():
    """Models use the middle of a long prompt least."""
    found = [passage(n, f"{n}") for n in range(1, 6)]

    assert ["1", "3", "4", "5", "2"] == bodies(best_first_and_last(found))
    assert ["1", "2"] == bodies(best_first_and_last(found[:2]))
