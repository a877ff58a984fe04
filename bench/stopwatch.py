"""Time as the benches take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds an action took, and its result."""
    start_s = time.perf_counter()
    result = action()
    return time.perf_counter() - start_s, result


def took_ms_of(action: Callable[..., Any], *given: Any) -> float:
    """Return how many took_ms_of a call took."""
    return 1000 * timed(lambda: action(*given))[0]


def p50(took_ms: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(took_ms))
