"""DPO: prefer a correction over the answer it corrects; docs/sources.md says where it is from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.types import TrainingStep
from training.objectives.objective import Logprob, Material, Objective, Row
from training.recipe import Recipe

DEGENERATE_LOSS = 1e-3
DEGENERATE_STEPS = 5


@dataclass(frozen=True, slots=True)
class DpoRecipe(Recipe):
    """What DPO needs besides what every training needs."""

    loss_types: tuple[str, ...] = ("sigmoid", "sft")
    loss_weights: tuple[float, ...] = (1.0, 1.0)
    beta: float = 0.1


@dataclass(frozen=True, slots=True)
class Dpo(Objective):
    """Rows are preference pairs: two answers to the very same messages, drawn for one prompt."""

    name: str = "dpo"
    recipe: DpoRecipe = DpoRecipe()
    columns: tuple[str, ...] = ("chosen", "rejected")

    def columns_of(self, answer: str, correction: str) -> Row:
        """Return both answers as TRL reads them, as lists of one message."""
        return {
            "chosen": [{"role": "assistant", "content": correction.strip()}],
            "rejected": [{"role": "assistant", "content": answer.strip()}],
        }

    def make_trainer(self, material: Material) -> Any:
        """Return TRL's DPOTrainer."""
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

        arguments = DPOConfig(
            **material.arguments,
            beta=self.recipe.beta,
            loss_type=list(self.recipe.loss_types),
            loss_weights=list(self.recipe.loss_weights),
            max_length=self.recipe.max_length,
            precompute_ref_log_probs=True,  # the base is the reference: once, not once an epoch
        )
        return DPOTrainer(
            model=material.model,
            args=arguments,
            train_dataset=Dataset.from_list([dict(row) for row in material.rows]),
            processing_class=material.tokenizer,
            peft_config=material.lora,
            callbacks=list(material.callbacks),
        )

    def read_step(self, step: int, logs: Mapping[str, float]) -> TrainingStep | None:
        """Return loss, margin and accuracy of one optimiser step."""
        if "rewards/margins" not in logs:
            return None
        return TrainingStep(step, logs["loss"], logs["rewards/margins"], logs["rewards/accuracies"])

    def fault(self, step: TrainingStep) -> str:
        """Stop a training that has solved its task at once."""
        if not is_degenerate(step.step, step.margin, step.accuracy):
            return ""
        return (
            f"loss 0 and accuracy 1 after {step.step} steps: the pairs differ by something "
            "trivial; look at the newest corrections"
        )

    def score(self, row: Row, logprob: Logprob) -> float:
        """Return log p(chosen) - log p(rejected)."""
        chosen, rejected = (
            logprob(row["prompt"], row[side][0]["content"]) for side in ("chosen", "rejected")
        )
        return chosen - rejected

    def wanted_text(self, row: Row) -> str:
        """Return the chosen answer."""
        return str(row["chosen"][0]["content"])


def is_degenerate(step: int, margin: float, accuracy: float) -> bool:
    """
    Tell whether a run has solved its task at once, which honest preferences never allow.

    The preference loss, log(1 + exp(-margin)), stands at zero and every pair is ranked rightly
    within the first steps: answers differ by something trivial, or the data is broken.

    >>> is_degenerate(3, margin=12.0, accuracy=1.0), is_degenerate(3, margin=1.2, accuracy=1.0)
    (True, False)
    """
    loss = math.log1p(math.exp(-margin)) if margin > -30 else -margin
    return step <= DEGENERATE_STEPS and loss < DEGENERATE_LOSS and accuracy >= 1.0


DPO = Dpo()
