"""How far training is: plain answers that come out word for word, citations, abstention."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import torch

from .loss import autocast_dtype
from .mix import Mixture
from .model import Decoder
from .rows import NOWHERE, RowWriter, TokenRow, collate

SLICES = (
    *((source, n) for source in ("squad", "invented") for n in (1, 2, 3)),
    ("dstc11", 3),
)
N_GROUPS = 24


@dataclass(frozen=True)
class Span:
    """One answer in a row: the positions that predict it, and what kind it is."""

    first: int
    last: int
    kind: str  # "answer", "follow_up", "sorry" or "other"
    cites: int  # position that predicts the citation, NOWHERE if none


def answer_spans(row: TokenRow, sorry_id: int, end_id: int, cite_ids: set[int]) -> list[Span]:
    """Return the answers of a row; those in another style than plain are of kind "other"."""
    spans, place, seen = [], 0, Counter[int]()
    while place < len(row):
        if row.branch[place] == 0 or row.weight[place] == 0:
            place += 1
            continue
        last = place
        while row.ids[last + 1] != end_id:
            last += 1
        kind, cites = "other", NOWHERE
        if row.ids[place + 1] == sorry_id:
            kind = "sorry"
        elif row.copied_from[place] != NOWHERE and row.ids[last] in cite_ids:
            kind = "follow_up" if seen[row.branch[place]] else "answer"
            cites = last - 1
        spans.append(Span(place, last, kind, cites))
        seen[row.branch[place]] += 1
        place = last + 1
    return spans


@torch.no_grad()
def evaluate(model: Decoder, mixture: Mixture, writer: RowWriter, pad_id: int) -> dict[str, float]:
    """
    Return shares in [0, 1] on documents that training never saw.

    A greedy answer equals the wanted one exactly if every token of it is the likeliest after
    the ones before, so one pass over the wanted answers measures it without generating.
    """
    code = writer.tokenizer
    sorry_id = code.encode("Sorry").ids[0]
    cite_ids = {code.encode(f". [{n}]").ids[-1] for n in range(1, 10)}
    out: dict[str, float] = {}
    for source, n_passages in SLICES:
        rng, hits = random.Random(11), Counter[str]()
        rows = [
            writer.write(mixture.unseen_group(source, rng, n_passages)) for _ in range(N_GROUPS)
        ]
        kept = [row for row in rows if row is not None]
        for begin in range(0, len(kept), 8):
            part = kept[begin : begin + 8]
            batch = collate(part, pad_id).to(model.embed_tokens.weight.device.type)
            mask = batch.mask()
            states, _ = model(batch.ids, batch.position, mask.to(autocast_dtype(mask)))
            for index, row in enumerate(part):
                said = model.logits(states[index]).argmax(-1).tolist()
                for span in answer_spans(row, sorry_id, writer.end_id, cite_ids):
                    _count(hits, row, said, span, sorry_id)
        for name in ("answer", "follow_up", "sorry", "cited", "kept"):
            total = hits[f"n_{name}"]
            if total:
                out[f"{source}{n_passages}_{name}"] = hits[name] / total
    return out


def _count(hits: Counter[str], row: TokenRow, said: list[int], span: Span, sorry_id: int) -> None:
    exact = said[span.first : span.last + 1] == row.ids[span.first + 1 : span.last + 2]
    hits[f"n_{span.kind}"] += 1
    if span.kind == "sorry":
        hits["sorry"] += said[span.first] == sorry_id
        return
    hits[span.kind] += exact
    if span.kind in ("answer", "follow_up"):
        for name, right in (
            ("cited", said[span.cites] == row.ids[span.cites + 1]),
            ("kept", said[span.first] != sorry_id),
        ):
            hits[f"n_{name}"] += 1
            hits[name] += right
