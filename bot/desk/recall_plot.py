"""The recall curves of an evaluation as points of an SVG; templates/desk/quality.html draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 46, WIDTH - 12, 14, HEIGHT - 42  # the frame that the curves fill

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RecallPlot:
    """Where everything stands, in units of the SVG's view box."""

    curves: list[tuple[str, list[Point]]]
    grid: list[tuple[float, float]]  # each line's share and its y
    ticks: list[tuple[int, float]]  # how many articles were looked at, and its x
    in_words: str  # for those who don't see it
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def recall_plot(curves: Mapping[str, Sequence[float]]) -> RecallPlot:
    """
    Place recall@1, @2 … of each named leg over the number of articles looked at.

    The scale begins at the tenth below the lowest point: good searches differ near the top.
    """
    lowest = floor(min(min(curve) for curve in curves.values()) * 10) / 10
    lowest = max(0.0, min(lowest, 0.9))
    n_points = max(len(curve) for curve in curves.values())
    numbers = range(1, n_points + 1)
    x = {n: round(LEFT + (n - 1) * (RIGHT - LEFT) / max(1, n_points - 1), 1) for n in numbers}
    ends = [f"{name} {c[0]:.2f} first, {c[-1]:.2f} in {len(c)}" for name, c in curves.items()]
    return RecallPlot(
        curves=[
            (name, [(x[n], _y(share, lowest)) for n, share in enumerate(curve, start=1)])
            for name, curve in curves.items()
        ],
        grid=[(share, _y(share, lowest)) for share in _grid(lowest)],
        ticks=list(x.items()),
        in_words=f"Recall: {'; '.join(ends)}",
    )


def _y(share: float, lowest: float) -> float:
    return round(TOP + (1 - share) / (1 - lowest) * (BOTTOM - TOP), 1)


def _grid(lowest: float) -> list[float]:
    """Return each tenth from 1 down, each fifth where the scale is long."""
    step = 1 if lowest >= 0.5 else 2
    return [tenths / 10 for tenths in range(10, round(lowest * 10) - 1, -step)]
