"""The recall curves of an evaluation as an SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor

from bot.desk.markup import text

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 42  # room for what stands around the curves


def recall_plot(curves: Mapping[str, Sequence[float]]) -> str:
    """
    Return recall@1, @2 … of each named leg as lines over the number of articles looked at.

    The scale begins at the tenth below the lowest point: good searches differ near the top.
    """
    lowest = floor(min(min(curve) for curve in curves.values()) * 10) / 10
    bottom = max(0.0, min(lowest, 0.9))
    n_points = max(len(curve) for curve in curves.values())
    lines = "".join(
        _line(curve, n, n_points, bottom) for n, curve in enumerate(curves.values(), start=1)
    )
    legend = "".join(
        f'<li class="curve-{n}"><i></i>{text(name)}</li>' for n, name in enumerate(curves, start=1)
    )
    return (
        '<figure class="recall"><figcaption>How soon the right article comes</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(_in_words(curves))}">'
        f"{_grid(bottom)}{_ticks(n_points)}{lines}</svg><ul>{legend}</ul></figure>"
    )


def _in_words(curves: Mapping[str, Sequence[float]]) -> str:
    ends = (
        f"{name} {curve[0]:.2f} first, {curve[-1]:.2f} in {len(curve)}"
        for name, curve in curves.items()
    )
    return f"Recall: {'; '.join(ends)}"


def _x(k: int, n_points: int) -> float:
    return LEFT + (k - 1) * (WIDTH - LEFT - RIGHT) / max(1, n_points - 1)


def _y(share: float, bottom: float) -> float:
    return TOP + (1 - share) / (1 - bottom) * (HEIGHT - TOP - BOTTOM)


def _grid(bottom: float) -> str:
    """Return a line and its number at each tenth, at each fifth where the scale is long."""
    step = 0.1 if bottom >= 0.5 else 0.2
    shares = [1 - n * step for n in range(round((1 - bottom) / step + 0.49) + 1)]
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{abs(share):.1f}</text>'
        for share in shares
        if share >= bottom - 1e-9
        for y in [_y(share, bottom)]
    )


def _ticks(n_points: int) -> str:
    below = HEIGHT - BOTTOM + 18
    numbers = "".join(
        f'<text x="{_x(k, n_points):.1f}" y="{below}" text-anchor="middle">{k}</text>'
        for k in range(1, n_points + 1)
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">articles looked at</text>'
    return numbers + name


def _line(curve: Sequence[float], n: int, n_points: int, bottom: float) -> str:
    points = [(_x(k, n_points), _y(share, bottom)) for k, share in enumerate(curve, start=1)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    return f'<g class="curve-{n}"><polyline points="{path}"/>{dots}</g>'
