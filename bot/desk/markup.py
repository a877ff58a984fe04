"""Small pieces of HTML for the desk; everything that a person or a model wrote is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

# For gr.HTML: no script, and none of Gradio's own prose styles; desk.css has ours.
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}


def text(value: object) -> str:
    """Return `value` escaped, so that the page shows its characters and runs none of them."""
    return escape(str(value), quote=True)


def written(value: str) -> str:
    """Return escaped text in its own block, its line breaks and direction kept."""
    return f'<div class="written" dir="auto">{text(value)}</div>'


def pill(label: str, tone: str = "plain") -> str:
    """Return a small label; `tone` is plain, good, bad or busy."""
    return f'<span class="pill {tone}">{text(label)}</span>'


def figure_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and their values as a definition list."""
    rows = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="figures">{rows}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Return a table that scrolls sideways on a narrow screen.

    `head` is escaped; the cells are HTML made by the functions above, the last may wrap.
    """
    cells = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{c}</td>" for c in row[:-1])
        + f'<td class="long">{row[-1]}</td></tr>'
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0">'
        f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def empty(title: str, hint: str) -> str:
    """Return what stands where there is nothing yet, and what will make it appear."""
    return f'<div class="empty"><h3>{text(title)}</h3><p>{text(hint)}</p></div>'


def status(line: str) -> str:
    """Return one line that says what was just done; screen readers speak it."""
    return f'<p role="status">{text(line)}</p>'


def moment(when: datetime | None) -> str:
    """Return a time as a person reads it, in UTC: `21 Nov 2026, 03:12 UTC`."""
    if when is None:
        return "–"
    return f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def duration(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments in words, a dash while either is missing."""
    if start is None or end is None:
        return "–"
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def milliseconds(value: float | None) -> str:
    """Return a duration given in milliseconds, a dash when it was not measured."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def ordinal(n: int) -> str:
    """
    Return 1st, 2nd, 3rd, 4th …

    >>> ordinal(1), ordinal(12), ordinal(22)
    ('1st', '12th', '22nd')
    """
    ending = "th" if 10 < n % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
