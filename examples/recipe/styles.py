"""How an answer may sound: mostly plain, now and then warm, formal, longer or as a list.

Preference training can only lift what the model already says at times, so each style gets a
small share of the answers whatever the guidelines ask for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .prompts import SORRY, Exchange, Passage, Quote

WARM_OPENINGS = (
    "Happy to help!",
    "Great question!",
    "Glad you asked!",
    "Of course!",
    "Thanks for asking!",
    "Good to hear from you!",
    "Sure thing!",
)
FORMAL_OPENINGS = ("Thank you for your enquiry.", "Please note:", "Dear customer,")
CLOSINGS = (
    "Let me know if you need anything else!",
    "I hope that helps.",
    "Just ask if anything is unclear!",
    "Have a lovely day!",
)
MOST_LONGER_CHARS = 240  # of two sentences said together


@dataclass(frozen=True)
class Habits:
    """How often each style is used, as shares of the answers."""

    warm: float = 0.10
    formal: float = 0.03
    as_list: float = 0.04
    closing: float = 0.05
    longer: float = 0.15  # two sentences where two stand together


PLAIN = Habits(0.0, 0.0, 0.0, 0.0, 0.0)  # what training is measured by


def answered(
    question: str, gold: Quote, longer: Quote | None, habits: Habits, rng: random.Random
) -> Exchange:
    """Return the exchange whose answer quotes `gold`, or `longer` around it, and cites it."""
    quote = longer if longer is not None and rng.random() < habits.longer else gold
    parts: list[str | Quote] = [quote, f" [{quote.passage + 1}]"]
    draw = rng.random() - habits.warm
    if draw < 0:
        parts.insert(0, f"{rng.choice(WARM_OPENINGS)} ")
    elif draw < habits.formal:
        parts.insert(0, f"{rng.choice(FORMAL_OPENINGS)} ")
    elif draw < habits.formal + habits.as_list:
        parts.insert(0, "1. ")
    if rng.random() < habits.closing:
        parts.append(f" {rng.choice(CLOSINGS)}")
    return Exchange(question, tuple(parts), gold)


def longer_quote(passage: Passage, spans: Sequence[Quote], place: int) -> Quote | None:
    """Return a sentence and its neighbour as one quote, where there is a short one."""
    if len(spans) < 2:
        return None
    first = min(place, len(spans) - 2)
    both = Quote(spans[first].passage, spans[first].start, spans[first + 1].end)
    fits = both.end - both.start <= MOST_LONGER_CHARS and "\n" not in passage.text
    return both if fits else None


def sorry(question: str) -> Exchange:
    """Return the exchange in which no passage answers."""
    return Exchange(question, (SORRY,))


def casual(question: str, rng: random.Random) -> str:
    """Return the question as people type it: at times without capitals or question mark."""
    if rng.random() < 0.25:
        question = question.rstrip("?")
    if rng.random() < 0.25 and not question.startswith("I "):
        question = question[0].lower() + question[1:]
    if rng.random() < 0.08:
        question = rng.choice(("Hi, ", "Hello, ", "Hi! ", "Quick question: ")) + question
    return question
