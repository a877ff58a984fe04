"""The prompt the bot sends, and the answers to it, with every copied character traced."""

from __future__ import annotations

from dataclasses import dataclass

RULES = (
    "Answer only from the numbered passages and cite the one you used, like [1]. "
    "If none of them answers, say: Sorry, I couldn't find that in our help articles."
)
SORRY = "Sorry, I couldn't find that in our help articles."


@dataclass(frozen=True)
class ShownPassage:
    """A piece of an article as retrieval hands it over."""

    title: str
    heading: str
    text: str


@dataclass(frozen=True)
class Quote:
    """Characters start to end of one passage's text, to be said word for word."""

    passage: int
    start: int
    end: int


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, which is words of its own and quotes in order."""

    question: str
    answer: tuple[str | Quote, ...]
    gold: Quote | None = None  # the sentence that answers; the answer may quote more
    is_past: bool = False  # said before these passages were found: read, not learned to say


@dataclass(frozen=True)
class Group:
    """Passages shared by several conversations that don't see each other."""

    guidelines: str
    passages: tuple[ShownPassage, ...]
    conversations: tuple[tuple[Exchange, ...], ...]


def system_message(guidelines: str, passages: tuple[ShownPassage, ...]) -> tuple[str, list[int]]:
    """Return the system message, and where in it each passage's text begins."""
    text, begins = f"{guidelines}\n\n{RULES}\n", []
    for number, passage in enumerate(passages, 1):
        path = " > ".join(part for part in (passage.title, passage.heading) if part)
        text += f"\n[{number}] {path}\n"
        begins.append(len(text))
        text += f"{passage.text}\n"
    if not passages:
        text += "\n(no passages)\n"
    return text.removesuffix("\n"), begins


def answer_text(exchange: Exchange, passages: tuple[ShownPassage, ...]) -> str:
    """Return the answer with its quotes filled in."""
    return "".join(
        part if isinstance(part, str) else passages[part.passage].text[part.start : part.end]
        for part in exchange.answer
    )
