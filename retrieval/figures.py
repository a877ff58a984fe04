"""What an evaluation found, as frozen values; as JSON in a job's row and on the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from retrieval.metrics import Difference, Estimate


@dataclass(frozen=True, slots=True)
class LegFigures:
    """How well one order, of a leg or of both fused, ranks the right articles."""

    metrics: dict[str, Estimate]
    recall_curve: list[float]  # recall@1 to @10


@dataclass(frozen=True, slots=True)
class Miss:
    """A question whose first article is not a right one."""

    wanted: list[str]
    found: list[str]  # the first ones
    rank: int | None  # of the first right article; None: it was not found at all
    question: str = ""
    previous: str = ""
    turn_id: str = ""  # of a question made from a turn


@dataclass(frozen=True, slots=True)
class Comparison:
    """How another way to search did on the same questions."""

    settings: dict[str, float]  # all figures of the other way
    final: str
    legs: dict[str, LegFigures]
    differences: dict[str, Difference]  # by metric: the other way less the one in use
    verdict: str  # in one plain sentence
    won: bool  # the other way is better beyond chance


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
        """Return it for storing and printing; a leg's curve stands beside its metrics."""
        stored = asdict(self)
        for way in (stored, stored["against"] or {}):
            for leg in way.get("legs", {}).values():
                leg |= leg.pop("metrics")
        for miss in stored["misses"]:
            # Of a turn only the id: a result outlives the conversation, its words must not.
            for name in ("question", "previous") if miss["turn_id"] else ("turn_id",):
                del miss[name]
        if self.against is None:
            del stored["against"]
        return stored
