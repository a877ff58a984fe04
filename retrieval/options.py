"""What a search is told: how to search, and what the asker may look through; frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.errors import InvalidInput
from core.settings import Settings
from core.types import EVERYONE, HELP

# What two ways to search may differ in: these decide the order, which is what an evaluation
# judges. How many passages are shown and from when on they count as relevant it can't tell.
RANGES: dict[str, tuple[float, float]] = {
    "n_candidates": (1, 1000),
    "rrf_k": (0, 10_000),
    "text_weight": (0, 100),
    "rerank_ms": (0, 60_000),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What an asker may look through."""

    collections: tuple[str, ...] = (HELP,)
    audiences: tuple[str, ...] = (EVERYONE,)

    @classmethod
    def of(cls, settings: Settings) -> Scope:
        """Return what this chat's visitors may look through."""
        return cls(audiences=tuple(dict.fromkeys((EVERYONE, settings.audience))))


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """One way to search: every figure that decides what is found, in which order, and whether."""

    limit: int  # passages returned at most
    min_similarity: float = -1.0  # cosine of the best passage; counts where nothing is reranked
    min_relevance: float = -1.0  # mean of that cosine and the best rerank score
    rerank_ms: float = 0.0  # how long passages may be read again for a better order; 0 is never
    n_candidates: int = 50  # per leg, before fusion
    # Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009): score = sum of weight / (k + rank).
    rrf_k: float = 10
    text_weight: float = 0.5  # of the words; the meaning has 1

    @classmethod
    def of(cls, settings: Settings) -> SearchOptions:
        """Return how the settings say to search; an adopted evaluation may say otherwise."""
        return cls(
            limit=settings.n_passages,
            min_similarity=settings.min_similarity,
            min_relevance=settings.min_relevance,
            rerank_ms=settings.rerank_ms,
        )

    @property
    def figures(self) -> dict[str, float]:
        """The figures that decide the order, by name."""
        return {name: getattr(self, name) for name in RANGES}

    def changed(self, given: Mapping[str, Any]) -> SearchOptions:
        """
        Return these options with some figures changed, like `{"rrf_k": 60}`.

        Raises:
            InvalidInput: A name is unknown, or a value is no number or out of its range.
        """
        checked: dict[str, Any] = _checked(given)
        return replace(self, **checked)

    def differences(self, usual: SearchOptions) -> dict[str, float]:
        """Return the figures that differ from those of `usual`: `changed` turns it into these."""
        return {name: value for name, value in self.figures.items() if value != usual.figures[name]}


def parse_figures(text: str) -> dict[str, float]:
    """
    Return the figures that a person has typed.

    >>> parse_figures("n_candidates=20, text_weight=1")
    {'n_candidates': 20, 'text_weight': 1.0}

    Raises:
        InvalidInput: As `SearchOptions.changed`, or a part is not name=number.
    """
    parts = [part.partition("=") for part in text.replace(",", " ").split()]
    if not parts or not all(sign and value for _, sign, value in parts):
        raise InvalidInput(f"{text!r} is no setting; write it like rrf_k=60,text_weight=1")
    return _checked({name: value for name, _, value in parts})


def in_words(figures: Mapping[str, float]) -> str:
    """
    Return figures as a person would type them.

    >>> in_words({"rrf_k": 60.0, "text_weight": 0.5})
    'rrf_k=60, text_weight=0.5'
    """
    return ", ".join(f"{name}={value:g}" for name, value in figures.items())


def _checked(given: Mapping[str, Any]) -> dict[str, float]:
    if unknown := sorted(given.keys() - RANGES.keys()):
        raise InvalidInput(f"no search setting {unknown[0]!r}; there are {', '.join(RANGES)}")
    return {name: _number(name, value) for name, value in given.items()}


def _number(name: str, value: object) -> float:
    low, high = RANGES[name]
    try:
        number = float(str(value))
    except ValueError as exc:
        raise InvalidInput(f"{name} needs a number, not {str(value)[:40]!r}") from exc
    if not low <= number <= high:
        raise InvalidInput(f"{name} must be from {low:g} to {high:g}, not {value}")
    if name != "n_candidates":
        return number
    if number != int(number):
        raise InvalidInput(f"{name} must be a whole number, not {value}")
    return int(number)
