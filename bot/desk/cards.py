"""The desk’s cards: macros of Jinja2 templates, one file a page; what they are given is escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import gradio as gr

from bot.desk import words
from bot.templates import macros
from core.errors import RatchetError

# For gr.HTML: no script, and none of Gradio's own prose styles; desk.css has ours.
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}

# For cards with buttons: a click on one tells the server which article or job it is of, and
# nothing else of the card is live.
CLICKABLE = PLAIN | {
    "js_on_load": """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-article], [data-job]");
  if (button) trigger("select", { ...button.dataset });
});
"""
}


def load_cards(page: str, **functions: Any) -> Any:
    """
    Return the template of a page as a module: each of its macros makes one card's HTML.

    Its macros may use the words of `bot.desk.words`, the functions of this module, and those
    given here.
    """
    shared = {
        "words": words,
        "duration": duration,
        "milliseconds": milliseconds,
        "moment": moment,
        "now": now,
        "ordinal": ordinal,
        "short_name": short_name,
    }
    return macros(f"desk/{page}.html", **shared, **functions)


def status_line(said: str) -> gr.HTML:
    """Return the update of a page's line on what was just done; without words it is hidden."""
    return gr.HTML(_MACROS.status(said), visible=bool(said))


def say_in_line(page: Any, problem: RatchetError, *_: Any) -> dict[Any, Any]:
    """Tell what went wrong in the page's line: a toast at every tick would bury the page."""
    return {page.said: status_line(str(problem))}


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


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


def short_name(source: str) -> str:
    """
    Return a web address whole, of a path its last part.

    >>> short_name("/srv/articles/returns.md"), short_name("https://shop.example/help/")
    ('returns.md', 'https://shop.example/help/')
    """
    return source if "://" in source else source.rstrip("/").rsplit("/", 1)[-1]


_MACROS = load_cards("macros")
