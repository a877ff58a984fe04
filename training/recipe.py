"""The numbers that every training needs; docs/sources.md says where each is from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.vllm import ADAPTED_MODULES


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train an adapter; rows of docs/sources.md carry the field's name."""

    rank: int = 8
    alpha: int = 16
    target_modules: tuple[str, ...] = ADAPTED_MODULES
    layers_share: float = 1.0  # of the model's layers, from the last one
    learning_rate: float = 5e-3  # at a hidden size of 256; wider models take smaller steps
    warmup_share: float = 0.1
    batch_size: int = 4
    rows_at_once: int = 2  # of a batch on a CPU; the others are added up, for less memory
    n_epochs: int = 2
    min_steps: int = 100
    max_length: int = 2048  # tokens, prompt and answer together
    seed: int = 0

    def learning_rate_at(self, hidden_size: int) -> float:
        """
        Return the learning rate for a model of this width.

        >>> Recipe().learning_rate_at(256), Recipe().learning_rate_at(1024)
        (0.005, 0.0003125)
        """
        scale: float = min(1.0, 256 / hidden_size) ** 2
        return self.learning_rate * scale

    def n_layers(self, n_model_layers: int) -> int:
        """Return how many of the model's last layers are adapted."""
        return max(1, round(self.layers_share * n_model_layers))

    def n_steps(self, n_train: int) -> int:
        """Return the number of optimiser steps for this many rows."""
        return max(self.min_steps, self.n_epochs * math.ceil(n_train / self.batch_size))
