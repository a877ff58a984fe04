"""What training minimises: the next token, and a few attention heads' aim."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from .model import Decoder
from .rows import NOWHERE, Batch

CHUNK = 256
MOST_AIMS = 80  # places per row and head
# Which heads are told where to look: (layer, head, what the row says, weight).
AIMS = (
    (1, 2, "header", 0.05),
    (1, 3, "sentence", 0.05),
    (3, 0, "chosen", 0.15),
    (3, 1, "chosen", 0.15),
    (4, 0, "copied_from", 0.20),
    (4, 1, "copied_from", 0.20),
    (5, 0, "copied_from", 0.15),
    (5, 1, "copied_from", 0.15),
)


class WeightedCrossEntropy(torch.autograd.Function):
    """Cross-entropy over a large vocabulary in chunks that stay in the processor's cache."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the weighted mean; gradients are made on the way, logits are not kept."""
        table16 = table.to(states.dtype)
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table)
        total, scale = torch.zeros((), device=states.device), 1 / weights.sum()
        for begin in range(0, len(states), CHUNK):
            part = slice(begin, begin + CHUNK)
            logits = (states[part] @ table16.T).float()
            gold = targets[part, None]
            lse = logits.logsumexp(-1, keepdim=True)
            total += ((lse - logits.gather(1, gold))[:, 0] * weights[part]).sum()
            slope = (logits - lse).exp_()
            slope.scatter_add_(1, gold, torch.full_like(lse, -1.0))
            slope.mul_(weights[part, None] * scale)
            slope16 = slope.to(states.dtype)
            grad_states[part] = slope16 @ table16
            grad_table += (slope16.T @ states[part]).to(table.dtype)
        ctx.save_for_backward(grad_states, grad_table)
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None, None]:
        """Hand out the gradients made in forward."""
        grad_states, grad_table = ctx.saved_tensors
        return grad_states * grads[0].to(grad_states.dtype), grad_table * grads[0], None, None


def training_loss(model: Decoder, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of one batch and its parts as plain numbers."""
    mask = batch.mask()
    states, seen = model(batch.ids, batch.position, mask.to(autocast_dtype(mask)))
    rows, places = (batch.weight > 0).nonzero(as_tuple=True)
    loss = WeightedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states[rows, places],
        model.embed_tokens.weight,
        batch.ids[rows, places + 1],
        batch.weight[rows, places],
    )
    parts = {"token": float(loss.detach())}
    for layer, head, name, weight in AIMS:
        aim = aim_loss(seen[layer], head, getattr(batch, name), mask)
        parts[f"{name}{layer}{head}"] = float(aim.detach())
        loss = loss + weight * aim
    return loss, parts


def aim_loss(seen: tuple[Tensor, Tensor], head: int, aim: Tensor, mask: Tensor) -> Tensor:
    """Return minus the mean log of the attention that goes where it is told to."""
    q, k = seen[0][:, head] * seen[0].shape[-1] ** -0.5, seen[1][:, head]
    lost, n_aims = torch.zeros((), device=aim.device), 0
    for row in range(len(aim)):
        places = (aim[row] != NOWHERE).nonzero()[:, 0]
        # A sample is enough for what every token of a passage is asked.
        places = places[torch.randperm(len(places), device=aim.device)[:MOST_AIMS]]
        scores = (q[row, places] @ k[row].T).float() + mask[row, 0, places]
        lost = lost + F.cross_entropy(scores, aim[row, places], reduction="sum")
        n_aims += len(places)
    return lost / max(1, n_aims)


def autocast_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype autocast computes in, or the tensor's own."""
    on = torch.is_autocast_enabled(like.device.type)
    return torch.get_autocast_dtype(like.device.type) if on else like.dtype
