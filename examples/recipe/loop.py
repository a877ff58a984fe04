"""The training loop: small batches, Muon for matrices, warm-up, then stable, then decay."""

from __future__ import annotations

import copy
import csv
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from .evaluate import held_out_shares, uncopied
from .loss import training_loss
from .mix import Mixture
from .model import Decoder
from .rows import Batch, RowWriter, TokenRow, collate, pack
from .tokenizer import END_OF_TEXT, token_id, token_words


@dataclass(frozen=True)
class Schedule:
    """How long to train and how hard."""

    minutes: float
    decay_share: float  # the last share of the time, over which the rates fall to zero
    matrix_rate: float = 4e-3
    other_rate: float = 1.5e-3
    warm_up_steps: int = 60
    rows_per_step: int = 8
    evaluate_every_minutes: float = 8.0
    seed: int = 0
    # Adam makes full steps of any gradient, however faint: a rare word, which only ever hears
    # "not me", would drift to where all other rare words go. This is larger than that whisper.
    vector_epsilon: float = 3e-5


class Trainer:
    """A model, its optimisers, its running mean, and what it has seen so far."""

    def __init__(
        self, model: Decoder, tokenizer: Tokenizer, mixture: Mixture, plan: Schedule
    ) -> None:
        self.model, self.tokenizer, self.mixture, self.plan = model, tokenizer, mixture, plan
        self.device = next(model.parameters()).device.type
        self.mean = copy.deepcopy(model)
        vectors = model.embed_tokens.weight
        matrices = [w for w in model.parameters() if w.ndim == 2 and w is not vectors]
        others = [w for w in model.parameters() if w.ndim == 1]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": [vectors], "eps": plan.vector_epsilon},
        ]
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices, lr=plan.matrix_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(groups, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0),
        )
        self.n_steps, self.n_tokens, self.minutes = 0, 0, 0.0
        self.pad_id = token_id(tokenizer, END_OF_TEXT)

    def run(self, folder: Path) -> None:
        """Train for the planned time; write curve.csv and checkpoints into folder."""
        folder.mkdir(parents=True, exist_ok=True)
        began, next_look, loss_mean = time.monotonic(), 0.5, 0.0
        before = self.minutes
        for drawn in self._batches():
            batch = drawn.to(self.device)
            spent = (time.monotonic() - began) / 60
            self.minutes = before + spent
            if spent >= self.plan.minutes:
                break
            parts = self._step(batch, spent)
            loss_mean += (parts["token"] - loss_mean) * (0.02 if loss_mean else 1.0)
            if self.n_steps % 50 == 0:
                aims = " ".join(f"{k} {v:.2f}" for k, v in parts.items())
                print(f"{spent:6.1f} min {self.n_steps:5d} {self.n_tokens:9d} {aims}", flush=True)
            if spent >= next_look:
                self._look(folder, loss_mean)
                next_look = spent + self.plan.evaluate_every_minutes
        self._look(folder, loss_mean)

    def _step(self, batch: Batch, spent: float) -> dict[str, float]:
        rate = self._rate(spent)
        for optimizer, full in zip(
            self.optimizers, (self.plan.matrix_rate, self.plan.other_rate), strict=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        with torch.autocast(self.device, torch.bfloat16):
            loss, parts = training_loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.n_steps += 1
        self.n_tokens += int((batch.group != 999).sum())
        if self.n_steps % 5 == 0:
            self._update_mean()
        return parts

    def _rate(self, spent: float) -> float:
        """Return the share of the full learning rate at this time."""
        warm = min(1.0, (self.n_steps + 1) / self.plan.warm_up_steps)
        left = 1 - spent / self.plan.minutes
        return warm * min(1.0, left / self.plan.decay_share if self.plan.decay_share else 1.0)

    @torch.no_grad()
    def _update_mean(self) -> None:
        """Move the running mean of the weights: a usable model at any moment of training."""
        pull = max(0.04, 1 / (1 + self.n_steps / 5))
        for mean, weight in zip(self.mean.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(weight, pull)

    def _batches(self) -> Iterator[Batch]:
        """Yield batches without end: groups drawn, packed into rows, rows mixed."""
        rng = random.Random(self.plan.seed)
        writer = RowWriter(self.tokenizer, rng)
        shelf: list[TokenRow] = []
        while True:
            while len(shelf) < 8 * self.plan.rows_per_step:
                drawn = [writer.write(self.mixture.group(rng)) for _ in range(64)]
                shelf += pack([row for row in drawn if row is not None])
            rng.shuffle(shelf)
            taken = [shelf.pop() for _ in range(self.plan.rows_per_step)]
            yield collate(taken, self.pad_id)

    def _look(self, folder: Path, loss: float) -> None:
        """Measure the running mean, add a line to the curve, save everything."""
        writer = RowWriter(self.tokenizer, random.Random(7))
        with torch.autocast(self.device, torch.bfloat16):
            figures = held_out_shares(self.mean, self.mixture, writer, self.pad_id)
            self._find_hard_words(writer)
        line = {"minutes": f"{self.minutes:.1f}", "steps": self.n_steps, "tokens": self.n_tokens}
        line |= {"loss": f"{loss:.4f}"} | {k: f"{v:.3f}" for k, v in figures.items()}
        _append(folder / "curve.csv", line)
        print(" ".join(f"{k}={v}" for k, v in line.items()), flush=True)
        part = folder / "state.part"
        torch.save(self.state(), part)
        part.rename(folder / "state.pt")

    def _find_hard_words(self, writer: RowWriter) -> None:
        """Let the words that can't be copied yet be swapped in more often from now on."""
        words = token_words(self.tokenizer)
        self.mixture.hard_words = uncopied(self.mean, writer, words, self.pad_id)
        print(f"{len(self.mixture.hard_words)} of {len(words)} words can't be copied", flush=True)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here."""
        return {
            "model": self.model.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counts": (self.n_steps, self.n_tokens, self.minutes),
        }

    def resume(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.mean.load_state_dict(state["mean"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.n_steps, self.n_tokens, self.minutes = state["counts"]


def _append(path: Path, line: dict[str, Any]) -> None:
    """Add one line to a CSV file, with its header if it is the first."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        rows = csv.DictWriter(file, list(line))
        if is_new:
            rows.writeheader()
        rows.writerow(line)
