"""The mixture: which share of the training prompts comes from where."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from core.jsonl import read_own_jsonl

from . import names
from .invented import chatter_group, invented_group
from .prompts import Group, answer_text, system_message
from .public import (
    PublicChunk,
    dialogue_documents,
    faq_documents,
    is_held_out,
    reading_documents,
    sentence_documents,
)
from .public_groups import public_group
from .styles import PLAIN, Habits
from .swap import WORD, swap_words

SHARES = {"invented": 52, "chatter": 4, "squad": 24, "qamr": 5, "nq": 3, "fairy": 3, "faq": 8}


class Mixture:
    """Draws training groups, and groups on documents that training never sees."""

    def __init__(self, data: Path, seed: int = 0) -> None:
        rng = random.Random(seed)
        found = {
            "squad": reading_documents(data / "qa/squad.jsonl", rng),
            "qamr": sentence_documents(data / "qa/qamr.jsonl", rng),
            "nq": reading_documents(data / "qa/nq_oracle.jsonl", rng),
            "fairy": reading_documents(data / "qa/fairytaleqa_train.jsonl", rng),
            "faq": faq_documents(data / "kb/dstc9_faq.jsonl", rng),
            "dstc11": dialogue_documents(data / "retrieval/dstc11"),
        }
        self.seen: dict[str, list[list[PublicChunk]]] = {}
        self.held_out: dict[str, list[list[PublicChunk]]] = {}
        for name, documents in found.items():
            full = {d: c for d, c in documents.items() if any(x.asked for x in c)}
            self.seen[name] = [c for d, c in full.items() if not is_held_out(d)]
            self.held_out[name] = [c for d, c in full.items() if is_held_out(d)]
        self.seen["faq"] += self.seen.pop("dstc11")
        self.words = sorted({w for c in self._chunks() for w in WORD.findall(c.text)})
        self.hard_words: list[str] = []  # those the model can't copy yet

    def group(self, rng: random.Random) -> Group:
        """Return one training group, mostly of one passage, at times with words swapped."""
        max_passages = rng.choices((1, 2, 3), (85, 8, 7))[0]
        return swap_words(self._plain_group(rng, max_passages), self.words, self.hard_words, rng)

    def _chunks(self) -> Iterator[PublicChunk]:
        for documents in self.seen.values():
            for chunks in documents:
                yield from chunks

    def _plain_group(self, rng: random.Random, max_passages: int) -> Group:
        source = rng.choices(list(SHARES), list(SHARES.values()))[0]
        if source == "invented":
            return invented_group(rng, max_passages, Habits())
        if source == "chatter":
            return chatter_group(rng)
        return public_group(self.seen[source], rng, max_passages, Habits())

    def unseen_group(self, source: str, rng: random.Random, n_passages: int) -> Group:
        """Return a group of a held-out document, plainly answered; invented ones are always new."""
        if source == "invented":
            return invented_group(rng, n_passages, PLAIN)
        return public_group(self.held_out[source], rng, n_passages, PLAIN)


def tokenizer_texts(mixture: Mixture, data: Path, n_groups: int = 12_000) -> Iterator[str]:
    """Yield the texts the tokenizer is trained on: prompts as sent, and customers' messages."""
    rng = random.Random(1)
    for _ in range(n_groups):
        group = mixture.group(rng)
        yield group.guidelines
        for passage in group.passages:
            yield f"{passage.title}\n{passage.heading}\n{passage.text}"
        for talk in group.conversations:
            yield from (f"{e.question}\n{answer_text(e, group.passages)}" for e in talk[:1])
    yield system_message("", ())[0]
    nouns = [w.replace("_", " ") for w in (*names.ITEMS, *names.PARTS, *names.ACTIVITIES)]
    nouns += [*names.VENUES, *names.PLANTS, "bike", "pass", "ticket", "customer", "cost"]
    yield from [f"a {' and '.join(nouns)}. {'s '.join(nouns)}s. {' '.join(nouns).title()}"] * 40
    for name in ("banking77_train", "hint3_train"):
        yield from (row["text"] for row in read_own_jsonl(data / f"intent/{name}.jsonl"))
    for row in read_own_jsonl(data / "kb/arduino_help_center.jsonl"):
        yield row["markdown"][:4000]
    yield from (row["text"] for row in read_own_jsonl(data / "lm_text/c4_demo.jsonl"))
