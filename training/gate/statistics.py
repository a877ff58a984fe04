"""How sure a comparison is: the interval of a win rate, and a test of losses against gains."""

from __future__ import annotations

import math

from scipy.stats import binomtest

Z_95 = 1.96


def wilson_interval(wins: float, n_trials: int, z: float = Z_95) -> tuple[float, float]:
    """
    Return the Wilson score interval of a win rate, in [0, 1]; (0, 1) without trials.

    Wilson (1927), as docs/sources.md cites it; it holds for few trials and for rates near 0
    and 1. Ties are half a win, and scipy's `proportion_ci` takes whole ones only.

    >>> tuple(round(end, 3) for end in wilson_interval(8, 8))
    (0.676, 1.0)
    >>> round(wilson_interval(6, 8)[0], 3), round(wilson_interval(120, 200)[0], 3)
    (0.409, 0.531)
    """
    if n_trials == 0:
        return 0.0, 1.0
    rate = wins / n_trials
    centre = rate + z * z / (2 * n_trials)
    spread = z * math.sqrt(rate * (1 - rate) / n_trials + z * z / (4 * n_trials**2))
    scale = 1 + z * z / n_trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def sign_test(n_lost: int, n_gained: int) -> float:
    """
    Return how likely at least so many losses are if losses and gains are equally likely.

    McNemar's test in its exact, one-sided form; docs/sources.md.

    >>> sign_test(4, 0), sign_test(1, 1)
    (0.0625, 0.75)
    """
    return float(binomtest(n_lost, n_lost + n_gained, alternative="greater").pvalue)
