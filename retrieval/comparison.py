"""Two ways to search, judged on the same questions: what differs, and whether that is chance."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.metrics import METRICS, Difference, paired_difference

PRIMARY = "ndcg@10"  # chosen beforehand: with six metrics one of them differs by luck
SURE_P = 0.05


def compare(
    now: Sequence[Sequence[str]], other: Sequence[Sequence[str]], judged: Sequence[set[str]]
) -> dict[str, Difference]:
    """
    Return by metric how much better `other` ranks than `now`.

    Both hold a ranking for each query, `judged` each query's right articles.
    """
    return {
        name: paired_difference(
            [metric(ranking, relevant) for ranking, relevant in zip(other, judged, strict=True)],
            [metric(ranking, relevant) for ranking, relevant in zip(now, judged, strict=True)],
        )
        for name, metric in METRICS.items()
    }


def is_better(found: Difference) -> bool:
    """Return whether a difference of nDCG@10 speaks for the other way beyond chance."""
    return found.p < SURE_P and found.low > 0


def verdict(found: Difference, n_queries: int, other: str) -> str:
    """Say whether the way named `other` is better by nDCG@10, or that one can't tell."""
    figures = f"nDCG@10 {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    basis = f"{figures}, p = {found.p:.2g}, {n_queries} questions."
    if is_better(found):
        return f"With {other} the right articles stand higher: {basis}"
    if found.p < SURE_P and found.high < 0:
        return f"With {other} the right articles stand lower: {basis}"
    if found.low == found.high == 0:
        return f"Both rank the right articles of these {n_queries} questions the same."
    return f"It can’t be told from these questions which is better: {basis}"
