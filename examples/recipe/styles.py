"""How an answer may sound: mostly plain, now and then warm, formal, longer or as a list.

Preference training can only lift what the model already says at times, so each style gets a
small share of the answers whatever the guidelines ask for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .prompts import SORRY, Exchange, Quote, ShownPassage

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
MOST_WHOLE_CHARS = 300  # of a passage that is said as a whole
MOST_PAIR_CHARS = 240  # of two sentences said together


@dataclass(frozen=True)
class Habits:
    """How often each style is used, as shares of the answers."""

    warm: float = 0.10
    formal: float = 0.03
    as_list: float = 0.04
    closing: float = 0.05
    longer: float = 0.85  # the whole of a short passage, or two sentences of a long one
    past: float = 0.12  # an exchange on another article comes before


PLAIN = Habits(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # what training is measured by


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


def longer_quote(passage: ShownPassage, spans: Sequence[Quote], place: int) -> Quote | None:
    """
    Return the passage where it is short, else a sentence and its neighbour, else nothing.

    The second sentence of a section often holds what the first leaves open, and a small model
    chooses sentences badly but copies well.
    """
    number = spans[place].passage
    if len(passage.text) <= MOST_WHOLE_CHARS:
        return Quote(number, 0, len(passage.text))
    first = min(place, len(spans) - 2)
    if first < 0 or "\n" in passage.text:
        return None
    both = Quote(number, spans[first].start, spans[first + 1].end)
    return both if both.end - both.start <= MOST_PAIR_CHARS else None


def past_exchange(question: str, answer: str, rng: random.Random) -> Exchange:
    """Return an exchange of which nothing is learned but that it is over."""
    said = SORRY if rng.random() < 0.1 else answer
    return Exchange(casual(question, rng), (said,), is_past=True)


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
