"""Two settings of the search are named as one would type them, and refused when they can't be."""

import pytest

from core.errors import InvalidInput
from retrieval.comparison import verdict
from retrieval.metrics import Difference
from retrieval.options import SearchOptions, in_words, parse_figures

IN_USE = SearchOptions(limit=3, rerank_ms=80)
OTHER = "rrf_k=60, text_weight=1"


def test_settings_are_read_as_typed():
    """What is not named stays as the chat has it."""
    other = IN_USE.changed(parse_figures("rrf_k=60,text_weight=1"))

    assert SearchOptions(limit=3, rerank_ms=80, rrf_k=60, text_weight=1) == other
    assert other == IN_USE.changed({"rrf_k": 60, "text_weight": "1"})
    assert OTHER == in_words(other.differences(IN_USE))
    assert other == IN_USE.changed(other.differences(IN_USE))


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("colour=1", "no search setting 'colour'; there are n_candidates, rrf_k, text_weight"),
        ("rrf_k", "write it like rrf_k=60"),
        ("rrf_k=", "write it like rrf_k=60"),
        (" ", "write it like rrf_k=60"),
        ("rrf_k=many", "rrf_k needs a number"),
        ("rrf_k=nan", "must be from 0 to"),
        ("text_weight=-1", "must be from 0 to"),
        ("n_candidates=2.5", "must be a whole number"),
        ("n_candidates=1e9", "must be from 1 to 1000"),
    ],
)
def test_what_is_no_setting_is_refused_in_one_line(typed, why):
    """A slip must not be compared as if it were meant."""
    with pytest.raises(InvalidInput, match=why):
        parse_figures(typed)


def test_the_verdict_is_one_plain_sentence():
    """Whoever reads it needs no statistics."""
    better = verdict(Difference(0.05, 0.02, 0.08, 0.001), 210, OTHER)
    worse = verdict(Difference(-0.05, -0.08, -0.02, 0.001), 210, OTHER)
    same = verdict(Difference(0.0, 0.0, 0.0, 1.0), 210, OTHER)
    unsure = verdict(Difference(0.01, -0.02, 0.04, 0.4), 210, OTHER)

    assert better.startswith("With rrf_k=60, text_weight=1 the right articles stand higher: ")
    assert worse.startswith("With rrf_k=60, text_weight=1 the right articles stand lower: ")
    assert "Both rank the right articles of these 210 questions the same." == same
    assert unsure.startswith("It can’t be told from these questions which is better: ")
    assert "nDCG@10 +0.050 (+0.020 to +0.080), p = 0.001, 210 questions." in better
