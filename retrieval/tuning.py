"""The figures of a search that two settings may differ in: candidates, fusion, rerank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from core.errors import InvalidInput
from core.settings import get_settings
from retrieval.hybrid import N_CANDIDATES, RRF_K, TEXT_WEIGHT

RANGES: dict[str, tuple[float, float]] = {
    "n_candidates": (1, 1000),
    "rrf_k": (0, 10_000),
    "text_weight": (0, 100),
    "rerank": (0, 1),
}
WHOLE = ("n_candidates", "rerank")


@dataclass(frozen=True, slots=True)
class Tuning:
    """One way to search."""

    n_candidates: int = N_CANDIDATES  # per leg, before fusion
    rrf_k: float = RRF_K
    text_weight: float = TEXT_WEIGHT  # of the words; the meaning has 1
    rerank: int = 1  # 1: the best are read again for their order; 0: the fused order stands

    @classmethod
    def in_use(cls) -> Tuning:
        """Return how the chat searches."""
        return cls(rerank=int(get_settings().rerank_ms > 0))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Tuning:
        """
        Return what is in use with some of it changed, like `{"rrf_k": 60}`.

        Raises:
            InvalidInput: A name is unknown, or a value is no number or out of its range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(given.keys() - known):
            raise InvalidInput(f"no search setting {unknown[0]!r}; there are {', '.join(RANGES)}")
        numbers: dict[str, Any] = {name: _number(name, value) for name, value in given.items()}
        return replace(cls.in_use(), **numbers)

    @classmethod
    def parse(cls, text: str) -> Tuning:
        """
        Read changes as a person types them.

        >>> Tuning.parse("rrf_k=60, text_weight=1").in_words
        'rrf_k=60, text_weight=1'

        Raises:
            InvalidInput: As `of`, or a part is not name=number.
        """
        parts = [part.partition("=") for part in text.replace(",", " ").split()]
        if not parts or not all(sign and value for _, sign, value in parts):
            raise InvalidInput(f"{text!r} is no setting; write it like rrf_k=60,text_weight=1")
        return cls.of({name: value for name, _, value in parts})

    @property
    def changed(self) -> dict[str, float]:
        """What differs from what is in use."""
        usual = asdict(Tuning.in_use())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @property
    def in_words(self) -> str:
        """What differs from what is in use, as a person would type it."""
        return ", ".join(f"{k}={v:g}" for k, v in self.changed.items()) or "the settings in use"


def _number(name: str, value: object) -> float:
    low, high = RANGES[name]
    try:
        number = float(str(value))
    except ValueError as exc:
        raise InvalidInput(f"{name} needs a number, not {str(value)[:40]!r}") from exc
    if not low <= number <= high:
        raise InvalidInput(f"{name} must be from {low:g} to {high:g}, not {value}")
    if name not in WHOLE:
        return number
    if number != int(number):
        raise InvalidInput(f"{name} must be a whole number, not {value}")
    return int(number)
