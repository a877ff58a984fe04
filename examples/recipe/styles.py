"""How an answer may sound: mostly plain, now and then warm, formal, longer or as a list.

Preference training can only lift what the model already says at times, so each style gets a
small share of the answers whatever the guidelines ask for.
"""

from __future__ import annotations

import random

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
WARM_SHARE, FORMAL_SHARE, CLOSING_SHARE, LONGER_SHARE = 0.10, 0.03, 0.05, 0.08
LIST_SHARE = 0.04


def cited_answer(
    quote: Quote, passages: tuple[Passage, ...], rng: random.Random, longer: Quote | None = None
) -> tuple[str | Quote, ...]:
    """Return the quote with its number, in one of the styles."""
    if longer is not None and rng.random() < LONGER_SHARE:
        quote = longer
    parts: list[str | Quote] = [quote, f" [{quote.passage + 1}]"]
    draw = rng.random()
    if draw < WARM_SHARE:
        parts.insert(0, f"{rng.choice(WARM_OPENINGS)} ")
    elif draw < WARM_SHARE + FORMAL_SHARE:
        parts.insert(0, f"{rng.choice(FORMAL_OPENINGS)} ")
    elif draw < WARM_SHARE + FORMAL_SHARE + LIST_SHARE:
        parts.insert(0, "1. ")
    if rng.random() < CLOSING_SHARE:
        parts.append(f" {rng.choice(CLOSINGS)}")
    return tuple(parts)


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
