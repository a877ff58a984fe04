"""What a way of learning has to say: its columns, its recipe, its trainer, its held-out score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.types import Message, TrainingStep
from training.recipe import Recipe

Row = Mapping[str, Any]  # of train.jsonl and heldout.jsonl: `id`, `prompt` and the columns
Logprob = Callable[[Sequence[Message], str], float]  # of an answer to messages, in nats


@dataclass(frozen=True, slots=True)
class Material:
    """What `training.fit` prepares for a trainer; its types are torch's, which is not here."""

    model: Any
    tokenizer: Any
    lora: Any
    rows: Sequence[Row]
    arguments: Mapping[str, Any]  # of transformers.TrainingArguments
    callbacks: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Objective(ABC):
    """One way to train an adapter, and to tell on held-out rows whether it became better."""

    name: str  # stands in manifests, so it never changes
    recipe: Recipe
    columns: tuple[str, ...]  # that a row has besides `id` and `prompt`

    @abstractmethod
    def columns_of(self, answer: str, correction: str) -> Row:
        """Return the columns of a row: what a correction of this answer teaches."""

    @abstractmethod
    def make_trainer(self, material: Material) -> Any:
        """Return TRL's trainer, the only function here that imports torch."""

    @abstractmethod
    def read_step(self, step: int, logs: Mapping[str, float]) -> TrainingStep | None:
        """Return a step's figures from what the trainer logs; None where it logs something else."""

    @abstractmethod
    def fault(self, step: TrainingStep) -> str:
        """Say why a training is to be stopped after this step; empty while it is sound."""

    @abstractmethod
    def score(self, row: Row, logprob: Logprob) -> float:
        """Return how much a model prefers what a held-out row teaches, in nats."""

    @abstractmethod
    def wanted_text(self, row: Row) -> str:
        """Return the answer that a row teaches."""
