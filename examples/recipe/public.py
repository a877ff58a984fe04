"""Public question sets: articles cut into short passages, with the questions they answer."""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from core.jsonl import read_own_jsonl

from . import names

HELD_OUT_SHARE = 8  # one document in this many is kept for evaluation
CUTS = ((1, 330), (2, 330), (3, 330), (6, 800))  # most sentences and characters of a chunk
MAX_SENTENCE = 230  # characters; longer sentences are no model for a help-centre answer
SENTENCE_END = re.compile(r"(?<=[.!?][\"')])\s+(?=[A-Z0-9\"'(])|(?<=[.!?])\s+(?=[A-Z0-9\"'(])")
ABBREVIATION = re.compile(r"(?:\b[A-Z]|\b(?:Mr|Mrs|Dr|St|vs|No|Jr|Sr|Inc|Ltd|Gen|Prof|etc|c))\.$")
STOP_WORDS = frozenset(
    "the a an of in to and is was are were for on at by with from as that this it its be or what "
    "which who how when where why did do does many much not can i you my your".split()
)


@dataclass
class PublicQuestion:
    """A question and which sentence of its chunk answers it; None where none does."""

    question: str
    sentence: int | None


@dataclass
class PublicChunk:
    """A few sentences of one document, and the questions asked about them."""

    title: str
    heading: str
    sentences: list[str]
    asked: list[PublicQuestion] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the chunk as it stands in the prompt."""
        return " ".join(self.sentences)

    def span(self, sentence: int) -> tuple[int, int]:
        """Return where one sentence begins and ends in the text."""
        start = sum(len(s) + 1 for s in self.sentences[:sentence])
        return start, start + len(self.sentences[sentence])


Documents = dict[str, list[PublicChunk]]


def is_held_out(document: str) -> bool:
    """Say whether this document's questions are kept for evaluation."""
    return crc32(document.lower().encode()) % HELD_OUT_SHARE == 0


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; abbreviations don't end one."""
    out: list[str] = []
    for piece in SENTENCE_END.split(" ".join(text.split())):
        if out and ABBREVIATION.search(out[-1]):
            out[-1] += " " + piece
        else:
            out.append(piece)
    return out


def reading_documents(path: Path, rng: random.Random) -> Documents:
    """Return documents of a question set whose records hold context, question and answers."""
    asked: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in read_own_jsonl(path):
        asked[record["title"], record["context"]].append(record)
    documents: Documents = defaultdict(list)
    for (title, context), records in asked.items():
        sentences = split_sentences(context)
        chunks, place_of = _cut(title.replace("_", " "), sentences, rng)
        for record in records:
            _place(record, sentences, chunks, place_of)
        documents[title] += chunks
    return documents


def _cut(
    title: str, sentences: list[str], rng: random.Random
) -> tuple[list[PublicChunk], dict[int, tuple[int, int]]]:
    """Cut sentences into chunks, mostly of one to three; say where each sentence went."""
    chunks: list[PublicChunk] = []
    place_of: dict[int, tuple[int, int]] = {}
    room, most = 0, 0
    for index, sentence in enumerate(sentences):
        if not 12 <= len(sentence) <= MAX_SENTENCE:
            room = 0
            continue
        if room == 0 or len(chunks[-1].text) + len(sentence) > most:
            chunks.append(PublicChunk(title, "", []))
            room, most = rng.choices(CUTS, (3, 5, 3, 1))[0]
        room -= 1
        chunks[-1].sentences.append(sentence)
        place_of[index] = (len(chunks) - 1, len(chunks[-1].sentences) - 1)
    return chunks, place_of


def _place(
    record: dict[str, Any],
    sentences: list[str],
    chunks: list[PublicChunk],
    place_of: dict[int, tuple[int, int]],
) -> None:
    """File the question under the chunk that answers it, or any chunk where none does."""
    question = record["question"].strip()
    if not record.get("answerable", True):
        best = max(chunks, key=lambda c: overlap(question, c.text), default=None)
        if best is not None:
            best.asked.append(PublicQuestion(question, None))
        return
    holding = {i for a in record["answers"] for i, s in enumerate(sentences) if a in s}
    if not holding:
        return
    gold = max(holding, key=lambda i: overlap(question, sentences[i]))
    if gold in place_of:
        chunk, sentence = place_of[gold]
        chunks[chunk].asked.append(PublicQuestion(question, sentence))


def sentence_documents(path: Path, rng: random.Random) -> Documents:
    """Return QAMR's single sentences, two or three thrown together as a made-up article."""
    asked: dict[str, list[str]] = defaultdict(list)
    for record in read_own_jsonl(path):
        asked[record["context"]].append(record["question"].strip())
    kept = [s for s in asked if len(s) <= MAX_SENTENCE]
    rng.shuffle(kept)
    documents: Documents = defaultdict(list)
    while kept:
        sentences = [kept.pop() for _ in range(min(len(kept), rng.choice((1, 1, 2))))]
        title = f"{names.invented_name(rng)} {rng.choice(('notes', 'guide', 'news', 'facts'))}"
        chunk = PublicChunk(title, "", sentences)
        chunk.asked = [PublicQuestion(q, i) for i, s in enumerate(sentences) for q in asked[s]]
        documents[f"{len(kept) // 40}"].append(chunk)
    return documents


def faq_documents(path: Path, rng: random.Random) -> Documents:
    """Return DSTC9's hotels and restaurants: each a document of short answers."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in read_own_jsonl(path):
        if record["entity"]:
            rows[record["entity"]].append(record)
    documents: Documents = {}
    for entity, records in rows.items():
        rng.shuffle(records)
        title = entity.title() if rng.random() < 0.7 else entity
        chunks = []
        while records:
            taken = [records.pop() for _ in range(min(len(records), rng.choice((1, 1, 2, 3))))]
            alone = len(taken) == 1 and rng.random() < 0.25
            chunk = PublicChunk(title, taken[0]["question"] if alone else "", [])
            chunk.sentences = [row["answer"].strip() for row in taken]
            chunk.asked = [
                PublicQuestion(row["question"].strip(), i) for i, row in enumerate(taken)
            ]
            chunks.append(chunk)
        documents[entity] = chunks
    return documents


def dialogue_documents(folder: Path) -> Documents:
    """Return DSTC11's snippets with the customers' last turns that they answer."""
    snippets = {r["_id"]: r for r in read_own_jsonl(folder / "corpus.jsonl")}
    chunks: dict[str, PublicChunk] = {}
    for key, row in snippets.items():
        if row["title"]:
            chunks[key] = PublicChunk(row["entity"].title(), "", [row["text"].strip()])
    for record in read_own_jsonl(folder / "dialogues.jsonl"):
        relevant = [key for key in record["relevant"] if key in chunks]
        if len(relevant) == 1:
            question = split_sentences(record["dialogue"][-1][1])[-1]
            chunks[relevant[0]].asked.append(PublicQuestion(question, 0))
    documents: Documents = defaultdict(list)
    for key, chunk in chunks.items():
        documents[snippets[key]["entity"]].append(chunk)
    return documents


def overlap(question: str, text: str) -> float:
    """Return the share of the question's telling words that stand in the text."""
    asked = _words(question)
    return len(asked & _words(text)) / (len(asked) or 1)


def _words(text: str) -> frozenset[str]:
    return frozenset(w[:5] for w in re.findall(r"\w+", text.lower()) if w not in STOP_WORDS)
