"""What an evaluation found, as frozen values; JSON in a job's row and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from retrieval.metrics import Difference, Estimate

CURVE = "recall_curve"


@dataclass(frozen=True, slots=True)
class LegFigures:
    """How well one order, of a leg or of both fused, ranks the right articles."""

    metrics: dict[str, Estimate]
    recall_curve: list[float]  # recall@1 to @10

    def to_json(self) -> dict[str, Any]:
        """Return the metrics and the curve side by side."""
        return {name: asdict(found) for name, found in self.metrics.items()} | {
            CURVE: self.recall_curve
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> LegFigures:
        """Read what `to_json` wrote."""
        metrics = {name: Estimate(**found) for name, found in stored.items() if name != CURVE}
        return cls(metrics, stored[CURVE])


@dataclass(frozen=True, slots=True)
class Miss:
    """A question whose first article is not a right one."""

    wanted: list[str]
    found: list[str]  # the first ones
    rank: int | None  # of the first right article; None: it was not found at all
    # Of a turn only the id: a result outlives the conversation, its words must not.
    question: str = ""
    previous: str = ""
    turn_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return either the turn's id or the question's words, and what came of it."""
        words = {"question": self.question, "previous": self.previous}
        asked = {"turn_id": self.turn_id} if self.turn_id else words
        return asked | {"wanted": self.wanted, "found": self.found, "rank": self.rank}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How another way to search did on the same questions."""

    settings: dict[str, float]  # all figures of the other way
    final: str
    legs: dict[str, LegFigures]
    differences: dict[str, Difference]  # by metric: the other way less the one in use
    verdict: str  # in one plain sentence
    won: bool  # the other way is better beyond chance

    def to_json(self) -> dict[str, Any]:
        """Return it as stored."""
        differences = {name: asdict(found) for name, found in self.differences.items()}
        legs = {leg: found.to_json() for leg, found in self.legs.items()}
        return {
            "settings": self.settings,
            "final": self.final,
            "legs": legs,
            "differences": differences,
            "verdict": self.verdict,
            "won": self.won,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` wrote; an older one did not tell who won, so nobody did."""
        legs = {leg: LegFigures.from_json(found) for leg, found in stored["legs"].items()}
        differences = {name: Difference(**found) for name, found in stored["differences"].items()}
        return cls(**{"won": False, **stored, "legs": legs, "differences": differences})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well the search ranks the right articles of judged questions."""

    n_queries: int
    unknown: list[str]  # articles that questions name and that are not ingested
    settings: dict[str, float]  # the figures of the way in use
    final: str  # the leg whose order the chat answers from
    legs: dict[str, LegFigures]  # dense, text, fused and, where it is done, reranked
    misses: list[Miss]  # not found at all first
    against: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as stored; `against` only where there is one."""
        found: dict[str, Any] = {
            "n_queries": self.n_queries,
            "unknown": self.unknown,
            "settings": self.settings,
            "final": self.final,
            "legs": {leg: figures.to_json() for leg, figures in self.legs.items()},
            "misses": [miss.to_json() for miss in self.misses],
        }
        return found | ({"against": self.against.to_json()} if self.against else {})
