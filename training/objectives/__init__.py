"""Ways to learn from what counts: one module a method, and a line here for each."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import TrainingError
from training.objectives.dpo import DPO
from training.objectives.objective import Objective

__all__ = ["DPO", "OBJECTIVES", "Objective", "find_objective"]

OBJECTIVES: Mapping[str, Objective] = {objective.name: objective for objective in (DPO,)}


def find_objective(name: str) -> Objective:
    """
    Return the objective of this name.

    Raises:
        TrainingError: There is none.
    """
    if name not in OBJECTIVES:
        raise TrainingError(f"no objective {name}; there is {', '.join(sorted(OBJECTIVES))}")
    return OBJECTIVES[name]
