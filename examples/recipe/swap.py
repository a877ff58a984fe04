"""Any word anywhere: part of a prompt's words are swapped for others, in articles and questions.

Without this the model learns to copy the words of the templates and garbles all others. With it
every token gets copied, and a question is matched to a sentence by words never seen together.
"""

# ruff: noqa: SIM905 - a list of words reads best as words

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from . import names
from .prompts import Group, Quote, ShownPassage

SWAPPED_GROUPS, MOST_SWAPPED_WORDS = 0.75, 0.4  # shares
MADE_UP_SHARE, HARD_SHARE = 0.15, 0.65  # of the stand-ins; the rest are words of the texts
WORD = re.compile(r"\b[^\W\d_]{4,}\b")
KEPT = frozenset(
    "what when where which have with from that this your they will does many much long cost "
    "costs free must only than".split()
)


def swap_words(
    group: Group, words: Sequence[str], hard: Sequence[str], rng: random.Random
) -> Group:
    """
    Return the group with some words swapped throughout; a share of groups stays as it is.

    Args:
        words: What may stand in.
        hard: Words the model can't copy yet; they stand in more often.
    """
    if rng.random() > SWAPPED_GROUPS:
        return group
    found = {w for p in group.passages for w in WORD.findall(f"{p.title} {p.heading} {p.text}")}
    share = rng.random() * MOST_SWAPPED_WORDS
    chosen = sorted(w for w in found if w.lower() not in KEPT and rng.random() < share)
    other = {word: _like(word, _stand_in(words, hard, rng)) for word in chosen}
    shifts = [_shifts(passage.text, other) for passage in group.passages]

    def moved(quote: Quote) -> Quote:
        steps = shifts[quote.passage]
        return Quote(quote.passage, _moved(quote.start, steps), _moved(quote.end, steps))

    passages = tuple(
        ShownPassage(_swapped(p.title, other), _swapped(p.heading, other), _swapped(p.text, other))
        for p in group.passages
    )
    talks = tuple(
        tuple(
            replace(
                e,
                question=_swapped(e.question, other),
                answer=tuple(moved(p) if isinstance(p, Quote) else p for p in e.answer),
                gold=moved(e.gold) if e.gold else None,
            )
            for e in talk
        )
        for talk in group.conversations
    )
    return replace(group, passages=passages, conversations=talks)


def _swapped(text: str, other: dict[str, str]) -> str:
    return WORD.sub(lambda match: other.get(match.group(), match.group()), text)


def _shifts(text: str, other: dict[str, str]) -> list[tuple[int, int]]:
    """Return (end of a swapped word, how many characters it grew by), in order."""
    return [
        (match.end(), len(other[match.group()]) - len(match.group()))
        for match in WORD.finditer(text)
        if match.group() in other
    ]


def _moved(place: int, shifts: Sequence[tuple[int, int]]) -> int:
    return place + sum(grown for end, grown in shifts if end <= place)


def _stand_in(words: Sequence[str], hard: Sequence[str], rng: random.Random) -> str:
    """Return a hard word, any word of the texts, or one that nobody has seen, or a code."""
    draw = rng.random()
    if draw < MADE_UP_SHARE:
        name = names.invented_name(rng)
        return name.lower() if rng.random() < 0.6 else f"{name.upper()}{rng.randint(2, 99)}"
    return rng.choice(hard if hard and draw < MADE_UP_SHARE + HARD_SHARE else words)


def _like(word: str, other: str) -> str:
    """Return the other word with capitals as in the first."""
    return other.capitalize() if word[0].isupper() and other.islower() else other
