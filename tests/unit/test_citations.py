"""What an answer cites is read in one way, for customers, the desk, the gate and the figures."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answering import scoring
from answering.scoring import cites_right, holds_facts
from core import citations
from core.citations import cited_numbers

N_SHOWN = 5
SHOWN = range(1, N_SHOWN + 1)
ARTICLES = ["returns.md", "delivery.md", "returns.md"]


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("Within 30 days [1].", (1,)),
        ("Unworn [1, 2].", (1, 2)),
        ("Unworn [2,1].", (2, 1)),
        ("Unworn [1][2].", (1, 2)),
        ("Unworn [2] and [1], see [2].", (2, 1)),
        ("All of them [1-3].", (1, 2, 3)),
        ("All of them [1–3].", (1, 2, 3)),
        ("Most of them [1, 3-5].", (1, 3, 4, 5)),
    ],
)
def test_models_write_citations_in_several_ways(answer, numbers):
    """All of them must open what the model saw."""
    assert numbers == cited_numbers(answer, SHOWN)


@pytest.mark.parametrize(
    "answer",
    [
        "Free.",
        "a[0]",
        "[6]",
        "[1, 6]",
        "[4-6]",
        "[3-1]",
        "[2024]",
        "[x]",
        "[]",
        "[1",
        "[-1]",
        "[1-]",
    ],
)
def test_a_bracket_that_names_a_passage_not_shown_cites_nothing(answer):
    """Opening times and invented numbers are no proof of anything."""
    assert () == cited_numbers(answer, SHOWN)


@given(st.lists(st.sampled_from(SHOWN), min_size=1), st.sampled_from(["[{}]", "[{}, 1]", "[{}-5]"]))
def test_each_passage_is_cited_once_in_the_order_of_the_text(numbers, bracket):
    """The sources under an answer are a list of articles, not of mentions."""
    answer = " and ".join(bracket.format(number) for number in numbers)

    cited = cited_numbers(answer, SHOWN)

    assert list(dict.fromkeys(cited)) == list(cited)
    assert numbers[0] == cited[0]
    assert set(numbers) <= set(cited)


@given(st.text(alphabet="[]0123456789,-– x"))
def test_whatever_a_model_writes_only_passages_shown_are_cited(answer):
    """A citation opens its passage, on every page and in every figure."""
    assert set(cited_numbers(answer, SHOWN)) <= set(SHOWN)


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ("Free [1].", True),
        ("Free [1][3].", True),
        ("Free [2].", False),
        ("Free [1, 2].", False),
        ("Free [1-3].", False),
        ("Free [1] [9].", True),
        ("Free.", False),
    ],
)
def test_right_is_to_cite_the_right_article_and_no_other(answer, is_right):
    """Who cites every passage always cites the right one too, and helps no reader."""
    assert is_right == cites_right(answer, "returns.md", ARTICLES)


@pytest.mark.parametrize(
    ("text", "is_held"),
    [
        ("It costs $6.", True),
        ("It costs\n\t$6, or less", True),
        ("It costs $60.", False),
        ("It costs $6.50.", False),
        ("It costs US$6.", False),
    ],
)
def test_a_fact_stands_in_a_text_as_words_of_its_own(text, is_held):
    """Half a number is another number."""
    assert is_held == holds_facts(text, ["$6"])


@pytest.mark.parametrize("module", [citations, scoring])
def test_the_examples_in_the_docstrings_hold(module):
    """They are documentation that can't lie."""
    assert 0 == doctest.testmod(module).failed
