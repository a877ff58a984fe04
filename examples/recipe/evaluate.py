"""How far training is: plain answers that come out word for word, citations, abstention."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .loss import autocast_dtype
from .mix import Mixture
from .model import Decoder
from .prompts import Exchange, Group, Quote, ShownPassage
from .rows import NOWHERE, RowWriter, TokenRow, collate

SLICES = (
    *((source, n) for source in ("squad", "invented") for n in (1, 2, 3)),
    ("dstc11", 3),
)
N_GROUPS = 24
WORDS_AT_ONCE = 3


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
def held_out_shares(
    model: Decoder, mixture: Mixture, writer: RowWriter, pad_id: int
) -> dict[str, float]:
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


@torch.no_grad()
def uncopied(model: Decoder, writer: RowWriter, words: Sequence[str], pad_id: int) -> list[str]:
    """Return the words that don't come out right where a passage with them is to be said."""
    failed: list[str] = []
    rows: list[tuple[TokenRow, Sequence[str]]] = []
    for start in range(0, len(words), WORDS_AT_ONCE):
        some = words[start : start + WORDS_AT_ONCE]
        row = writer.write(_word_list(some))
        if row is not None:
            rows.append((row, some))
    for start in range(0, len(rows), 16):
        part = rows[start : start + 16]
        batch = collate([row for row, _ in part], pad_id).to(model.embed_tokens.weight.device.type)
        mask = batch.mask()
        states, _ = model(batch.ids, batch.position, mask.to(autocast_dtype(mask)))
        for index, (row, some) in enumerate(part):
            said = model.logits(states[index]).argmax(-1).tolist()
            failed += _not_said(row, said, some, writer)
    return failed


def _word_list(words: Sequence[str]) -> Group:
    """Return a group whose one answer holds the words, each in surroundings of its own."""
    first, second, third = (*words, *words)[:WORDS_AT_ONCE]
    text = f"Please bring the {first} and your {second} if you pay by card. A {third} is free."
    quote = Quote(0, 0, len(text))
    asked = Exchange("What should I bring?", (quote, " [1]"), quote)
    return Group("You are the support assistant.", (ShownPassage("Help", "", text),), ((asked,),))


def _not_said(
    row: TokenRow, said: list[int], words: Sequence[str], writer: RowWriter
) -> Iterator[str]:
    """Yield the words that are not predicted token for token in the answer of this row."""
    answer = next(n for n, weight in enumerate(row.weight) if weight >= 1.0)
    for word in words:
        ids = writer.tokenizer.encode(f" {word}").ids
        for place in range(answer, len(row) - len(ids)):
            if row.ids[place + 1 : place + 1 + len(ids)] == ids:
                if said[place : place + len(ids)] != ids:
                    yield word
                break


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
