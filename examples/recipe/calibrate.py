"""After training: how readily the model says "Sorry", set on held-out public questions."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from .mix import Mixture
from .model import Decoder
from .rows import NOWHERE, RowWriter, collate

SOURCES = ("invented", "squad", "faq", "dstc11")
N_GROUPS = 24  # of each
# Customers' words are farther from an article's than those of the public questions, and the
# search has refused most of what nothing answers before the model is asked.
MARGIN_NATS = 2.0
WRONGLY_SORRY = 0.01  # wanted share of answerable questions; the search refuses most others


@torch.no_grad()
def calibrate_sorry(model: Decoder, mixture: Mixture, writer: RowWriter, pad_id: int) -> float:
    """
    Lower the logit of "Sorry" until it is said of WRONGLY_SORRY of answerable questions.

    The state before an answer has a large constant part; a step of the word's output vector
    against it acts as the bias that Qwen2's output layer lacks. Returns the change in nats.
    """
    sorry_id = writer.tokenizer.encode("Sorry").ids[0]
    states = answer_starts(model, mixture, writer, pad_id)
    logits = model.logits(states)
    sorry = logits[:, sorry_id].clone()
    logits[:, sorry_id] = -torch.inf
    lead = sorry - logits.amax(-1)
    change = min(0.0, -float(lead.quantile(1 - WRONGLY_SORRY))) - MARGIN_NATS
    mean = states.mean(0)
    model.embed_tokens.weight[sorry_id] += change * mean / mean.square().sum()
    return change


def answer_starts(model: Decoder, mixture: Mixture, writer: RowWriter, pad_id: int) -> Tensor:
    """Return the states (answers, hidden) from which answerable questions are answered."""
    found = []
    for source in SOURCES:
        rng = random.Random(5)
        for _ in range(N_GROUPS):
            row = writer.write(mixture.unseen_group(source, rng, 1))
            if row is None:
                continue
            batch = collate([row], pad_id)
            states, _ = model(batch.ids, batch.position, batch.mask())
            starts = [
                place
                for place in range(1, len(row))
                if row.copied_from[place] != NOWHERE and row.chosen[place] > 0
            ]
            found.append(states[0, starts])
    return torch.cat(found)
