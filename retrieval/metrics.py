"""How good a ranking is: recall, nDCG, reciprocal rank, and how sure one may be; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 2000
N_SHUFFLES = 10_000
Z_95 = 1.96
SEED = 20_240  # any fixed number: the same queries give the same interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher a mean is than another over the same queries, and how sure that is."""

    value: float
    low: float  # of the 95 % paired bootstrap interval
    high: float
    p: float  # of the paired randomisation test: how often chance alone differs as much


def recall_at(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """
    Return the share of the relevant items among the first k, in [0, 1].

    >>> recall_at(["a", "b", "c"], {"a", "c"}, 2)
    0.5
    """
    return len(set(ranking[:k]) & set(relevant)) / len(relevant)


def ndcg_at(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """
    Return the discounted gain of the first k over the best possible (Järvelin, Kekäläinen 2002).

    >>> ndcg_at(["a", "b"], {"a"}, 10), round(ndcg_at(["b", "a"], {"a"}, 10), 3)
    (1.0, 0.631)
    """
    gains = (1 / math.log2(n + 2) for n, item in enumerate(ranking[:k]) if item in relevant)
    best = sum(1 / math.log2(n + 2) for n in range(min(k, len(relevant))))
    return sum(gains) / best


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """
    Return 1 / the rank of the first relevant item, 0 when there is none.

    >>> reciprocal_rank(["b", "a"], {"a"}), reciprocal_rank(["b"], {"a"})
    (0.5, 0.0)
    """
    return next((1 / n for n, item in enumerate(ranking, start=1) if item in relevant), 0.0)


METRICS: dict[str, Callable[[Sequence[str], Collection[str]], float]] = {
    "recall@1": lambda ranking, relevant: recall_at(ranking, relevant, 1),
    "recall@3": lambda ranking, relevant: recall_at(ranking, relevant, 3),
    "recall@5": lambda ranking, relevant: recall_at(ranking, relevant, 5),
    "recall@10": lambda ranking, relevant: recall_at(ranking, relevant, 10),
    "ndcg@10": lambda ranking, relevant: ndcg_at(ranking, relevant, 10),
    "mrr": reciprocal_rank,
}


def bootstrap_mean(values: Sequence[float]) -> Estimate:
    """Return the mean of per-query values and its percentile bootstrap interval (Efron 1979)."""
    values_N = np.asarray(values, dtype=float)
    low, high = np.quantile(values_N[_resamples(len(values_N))].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values_N.mean()), float(low), float(high))


def bounded_mean(values: Sequence[float]) -> Estimate:
    """
    Return `bootstrap_mean` of values in [0, 1], with an honest interval where all are 0 or 1.

    Resampling two ones gives ones for ever; Wilson's interval (1927) says what two prove.

    >>> round(bounded_mean([1.0, 1.0]).low, 3)
    0.342
    """
    if len(set(values)) > 1 or values[0] not in (0, 1):
        return bootstrap_mean(values)
    doubt = Z_95**2 / (len(values) + Z_95**2)
    return Estimate(1.0, 1 - doubt, 1.0) if values[0] else Estimate(0.0, 0.0, doubt)


def bootstrap_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """
    Return mean(ours) / mean(theirs) over the same queries with its paired bootstrap interval.

    Both sides are resampled together, so queries that are hard for both cancel out.
    """
    ours_N, theirs_N = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    picks = _resamples(len(ours_N))
    tops, bottoms = ours_N[picks].mean(axis=1), theirs_N[picks].mean(axis=1)
    low, high = np.quantile(tops[bottoms > 0] / bottoms[bottoms > 0], [0.025, 0.975])
    return Estimate(float(ours_N.mean() / theirs_N.mean()), float(low), float(high))


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """
    Return mean(ours) - mean(theirs) with its paired bootstrap interval and a p-value.

    The test swaps the two sides of each query at random (Fisher's randomisation; Smucker,
    Allan, Carterette 2007 recommend it for rankings). Nothing differs: p is 1.

    >>> paired_difference([1.0] * 8, [0.0] * 8).value, paired_difference([0.5], [0.5]).p
    (1.0, 1.0)
    """
    gains_N = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean = bootstrap_mean(list(gains_N))
    return Difference(mean.value, mean.low, mean.high, _p_of_no_difference(gains_N))


def _p_of_no_difference(gains_N: NDArray[np.float64]) -> float:
    moved_M = gains_N[gains_N != 0]
    if not len(moved_M):
        return 1.0
    random = np.random.default_rng(SEED)
    reached = abs(moved_M.sum()) - 1e-9
    n_as_far = 0
    for _ in range(10):  # a tenth at a time: ten thousand queries are no gigabytes
        signs = random.choice((-1.0, 1.0), size=(N_SHUFFLES // 10, len(moved_M)))
        n_as_far += int((abs(signs @ moved_M) >= reached).sum())
    return (1 + n_as_far) / (1 + N_SHUFFLES)


def _resamples(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(SEED).integers(0, n, size=(N_RESAMPLES, n))
