"""Rankings are judged by the textbook's formulas, with intervals that mean something."""

import pytest

from retrieval.metrics import (
    bootstrap_mean,
    bootstrap_ratio,
    bounded_mean,
    ndcg_at,
    paired_difference,
    recall_at,
    reciprocal_rank,
)


def test_recall_is_the_share_of_relevant_items_found():
    """What is not found can't be answered."""
    assert 0.5 == recall_at(["a", "x", "b"], {"a", "b"}, 2)
    assert 1.0 == recall_at(["a", "x", "b"], {"a", "b"}, 3)


def test_ndcg_is_one_for_a_perfect_ranking_and_falls_with_rank():
    """Higher is better where people look first."""
    assert 1.0 == ndcg_at(["a", "b", "x"], {"a", "b"}, 10)
    assert ndcg_at(["a", "x"], {"a"}, 10) > ndcg_at(["x", "a"], {"a"}, 10) > 0
    assert 0.0 == ndcg_at(["x"] * 10 + ["a"], {"a"}, 10)


def test_ndcg_does_not_ask_for_more_than_fits():
    """Twelve relevant items can't all stand among the first ten."""
    items = [str(n) for n in range(12)]

    assert 1.0 == ndcg_at(items, set(items), 10)


def test_reciprocal_rank_looks_at_the_first_relevant_item():
    """It is the one that gets cited."""
    assert 1 / 3 == reciprocal_rank(["x", "y", "a", "b"], {"a", "b"})
    assert 0.0 == reciprocal_rank(["x"], {"a"})


def test_an_interval_holds_the_mean_and_narrows_with_more_queries():
    """Ten questions prove less than a thousand."""
    few, many = bootstrap_mean([0, 1] * 5), bootstrap_mean([0, 1] * 500)

    assert few.low < few.value < few.high
    assert 0.5 == many.value
    assert many.high - many.low < (few.high - few.low) / 5


def test_the_same_queries_give_the_same_interval():
    """Two runs of one evaluation must agree."""
    assert bootstrap_mean([0, 1, 1]) == bootstrap_mean([0, 1, 1])


def test_a_perfect_score_on_few_questions_is_no_certainty():
    """Two of two must not look like two thousand of two thousand."""
    few, many = bounded_mean([1.0] * 2), bounded_mean([1.0] * 2000)

    assert few.low < 0.5 < 0.99 < many.low < 1.0 == many.high
    assert (0.0, 0.0) == (bounded_mean([0.0] * 2).value, bounded_mean([0.0] * 2).low)
    assert bounded_mean([0.0] * 2).high > 0.5
    assert bootstrap_mean([0.0, 1.0]) == bounded_mean([0.0, 1.0])


def test_a_paired_ratio_is_sure_where_every_query_agrees():
    """Hard queries are hard for both sides; pairing cancels that."""
    theirs = [0.1, 0.5, 0.9] * 10

    ratio = bootstrap_ratio([1.1 * value for value in theirs], theirs)

    assert pytest.approx((1.1, 1.1, 1.1)) == (ratio.value, ratio.low, ratio.high)


def test_a_difference_on_every_query_is_no_chance():
    """Twenty questions that all rank better are proof enough."""
    theirs = [0.1, 0.5, 0.6, 0.8] * 5

    found = paired_difference([value + 0.2 for value in theirs], theirs)

    assert pytest.approx((0.2, 0.2, 0.2)) == (found.value, found.low, found.high)
    assert found.p < 0.001


def test_a_difference_that_goes_both_ways_may_be_chance():
    """One lucky question must not decide a setting."""
    found = paired_difference([1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 1, 0])

    assert found.low < 0 < found.high
    assert found.p > 0.3


def test_four_questions_can_prove_nothing():
    """Of sixteen ways to swap four pairs two are as extreme, however large the gain."""
    assert pytest.approx(2 / 16, abs=0.02) == paired_difference([1] * 4, [0] * 4).p


def test_rankings_that_agree_differ_by_nothing():
    """A setting without effect is no better and no worse."""
    found = paired_difference([0.2, 0.9], [0.2, 0.9])

    assert (0.0, 0.0, 0.0, 1.0) == (found.value, found.low, found.high, found.p)
