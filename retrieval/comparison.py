"""Two ways to search, judged on the same questions: what differs, and whether that is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from retrieval.metrics import METRICS, Difference, paired_difference
from retrieval.tuning import Tuning

PRIMARY = "ndcg@10"  # chosen beforehand: with six metrics one of them differs by luck
SURE_P = 0.05


def compare(
    now: Sequence[Sequence[str]],
    other: Sequence[Sequence[str]],
    judged: Sequence[set[str]],
    tuning: Tuning,
) -> dict[str, Any]:
    """
    Return `differences` (other less now, each metric) and a `verdict` in one plain sentence.

    `now` and `other` are the rankings of the same queries by the settings in use and by
    `tuning`; `judged` are each query's right articles.
    """
    differences = {
        name: paired_difference(
            [metric(ranking, relevant) for ranking, relevant in zip(other, judged, strict=True)],
            [metric(ranking, relevant) for ranking, relevant in zip(now, judged, strict=True)],
        )
        for name, metric in METRICS.items()
    }
    return {
        "differences": {name: asdict(found) for name, found in differences.items()},
        "verdict": verdict(differences[PRIMARY], len(judged), tuning),
    }


def verdict(found: Difference, n_queries: int, tuning: Tuning) -> str:
    """Say which is better by nDCG@10, or that these questions can't tell."""
    figures = f"nDCG@10 {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    basis = f"{figures}, p = {found.p:.2g}, {n_queries} questions."
    if found.p < SURE_P and found.low > 0:
        return f"With {tuning.in_words} the right articles stand higher: {basis}"
    if found.p < SURE_P and found.high < 0:
        return f"With {tuning.in_words} the right articles stand lower: {basis}"
    if found.low == found.high == 0:
        return f"Both rank the right articles of these {n_queries} questions the same."
    return f"It can’t be told from these questions which is better: {basis}"
