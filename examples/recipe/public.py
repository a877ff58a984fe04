"""Training groups from public question sets: articles cut into short passages, and questions."""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from . import names
from .guidelines import random_guidelines
from .prompts import Exchange, Group, Passage, Quote
from .styles import Habits, answered, casual, longer_quote, sorry

MAIN_POINT_SHARE = 0.75  # of the passages begin with the sentence that is asked about
HELD_OUT_SHARE = 8  # one document in this many is kept for evaluation
MAX_SENTENCE = 230  # characters; longer sentences are no model for a help-centre answer
SENTENCE_END = re.compile(r"(?<=[.!?][\"')])\s+(?=[A-Z0-9\"'(])|(?<=[.!?])\s+(?=[A-Z0-9\"'(])")
ABBREVIATION = re.compile(r"(?:\b[A-Z]|\b(?:Mr|Mrs|Dr|St|vs|No|Jr|Sr|Inc|Ltd|Gen|Prof|etc|c))\.$")
STOP_WORDS = frozenset(
    "the a an of in to and is was are were for on at by with from as that this it its be or what "
    "which who how when where why did do does many much not can i you my your".split()
)


@dataclass
class Asked:
    """A question and which sentence of its chunk answers it; None where none does."""

    question: str
    sentence: int | None


@dataclass
class Chunk:
    """A few sentences of one document, and the questions asked about them."""

    title: str
    heading: str
    sentences: list[str]
    asked: list[Asked] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the chunk as it stands in the prompt."""
        return " ".join(self.sentences)

    def span(self, sentence: int) -> tuple[int, int]:
        """Return where one sentence begins and ends in the text."""
        start = sum(len(s) + 1 for s in self.sentences[:sentence])
        return start, start + len(self.sentences[sentence])


Documents = dict[str, list[Chunk]]


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


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def reading_documents(path: Path, rng: random.Random) -> Documents:
    """Return documents of a question set whose records hold context, question and answers."""
    asked: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in read_jsonl(path):
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
) -> tuple[list[Chunk], dict[int, tuple[int, int]]]:
    """Cut sentences into chunks of one to three; say where each sentence went."""
    chunks: list[Chunk] = []
    place_of: dict[int, tuple[int, int]] = {}
    room = 0
    for index, sentence in enumerate(sentences):
        if not 12 <= len(sentence) <= MAX_SENTENCE:
            room = 0
            continue
        if room == 0 or len(chunks[-1].text) + len(sentence) > 330:
            chunks.append(Chunk(title, "", []))
            room = rng.choices((1, 2, 3), (3, 5, 3))[0]
        room -= 1
        chunks[-1].sentences.append(sentence)
        place_of[index] = (len(chunks) - 1, len(chunks[-1].sentences) - 1)
    return chunks, place_of


def _place(
    record: dict[str, Any],
    sentences: list[str],
    chunks: list[Chunk],
    place_of: dict[int, tuple[int, int]],
) -> None:
    """File the question under the chunk that answers it, or any chunk where none does."""
    question = record["question"].strip()
    if not record.get("answerable", True):
        best = max(chunks, key=lambda c: _overlap(question, c.text), default=None)
        if best is not None:
            best.asked.append(Asked(question, None))
        return
    holding = {i for a in record["answers"] for i, s in enumerate(sentences) if a in s}
    if not holding:
        return
    gold = max(holding, key=lambda i: _overlap(question, sentences[i]))
    if gold in place_of:
        chunk, sentence = place_of[gold]
        chunks[chunk].asked.append(Asked(question, sentence))


def sentence_documents(path: Path, rng: random.Random) -> Documents:
    """Return QAMR's single sentences, two or three thrown together as a made-up article."""
    asked: dict[str, list[str]] = defaultdict(list)
    for record in read_jsonl(path):
        asked[record["context"]].append(record["question"].strip())
    kept = [s for s in asked if len(s) <= MAX_SENTENCE]
    rng.shuffle(kept)
    documents: Documents = defaultdict(list)
    while kept:
        sentences = [kept.pop() for _ in range(min(len(kept), rng.choice((1, 1, 2))))]
        title = f"{names.invented_name(rng)} {rng.choice(('notes', 'guide', 'news', 'facts'))}"
        chunk = Chunk(title, "", sentences)
        chunk.asked = [Asked(q, i) for i, s in enumerate(sentences) for q in asked[s]]
        documents[f"{len(kept) // 40}"].append(chunk)
    return documents


def faq_documents(path: Path, rng: random.Random) -> Documents:
    """Return DSTC9's hotels and restaurants: each a document of short answers."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in read_jsonl(path):
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
            chunk = Chunk(title, taken[0]["question"] if alone else "", [])
            chunk.sentences = [row["answer"].strip() for row in taken]
            chunk.asked = [Asked(row["question"].strip(), i) for i, row in enumerate(taken)]
            chunks.append(chunk)
        documents[entity] = chunks
    return documents


def dialogue_documents(folder: Path) -> Documents:
    """Return DSTC11's snippets with the customers' last turns that they answer."""
    snippets = {r["_id"]: r for r in read_jsonl(folder / "corpus.jsonl")}
    chunks: dict[str, Chunk] = {}
    for key, row in snippets.items():
        if row["title"]:
            chunks[key] = Chunk(row["entity"].title(), "", [row["text"].strip()])
    for record in read_jsonl(folder / "dialogues.jsonl"):
        relevant = [key for key in record["relevant"] if key in chunks]
        if len(relevant) == 1:
            question = split_sentences(record["dialogue"][-1][1])[-1]
            chunks[relevant[0]].asked.append(Asked(question, 0))
    documents: Documents = defaultdict(list)
    for key, chunk in chunks.items():
        documents[snippets[key]["entity"]].append(chunk)
    return documents


def public_group(
    documents: list[list[Chunk]], rng: random.Random, max_passages: int, habits: Habits
) -> Group:
    """Return a chunk with questions, like chunks beside it, and conversations about them."""
    chunks = rng.choice(documents)
    main = rng.choice([c for c in chunks if c.asked] or chunks)
    if rng.random() < MAIN_POINT_SHARE:
        main = _from_its_point(main, rng)
    n_others = min(max_passages, rng.choices((1, 2, 3), (2, 3, 6))[0]) - 1
    ranked = [main, *_negatives(main, chunks, documents, rng, n_others)]
    if rng.random() < 0.12:
        rng.shuffle(ranked)
    passages = tuple(Passage(c.title, c.heading, c.text) for c in ranked)
    talks = [(e,) for e in _exchanges(ranked, main, passages, habits, rng)]
    stranger = rng.choice(rng.choice(documents))
    if stranger not in ranked and stranger.asked and rng.random() < 0.45:
        talks.append((sorry(casual(rng.choice(stranger.asked).question, rng)),))
    rng.shuffle(talks)
    return Group(random_guidelines(names.company_name(rng), rng), passages, tuple(talks[:8]))


def _from_its_point(chunk: Chunk, rng: random.Random) -> Chunk:
    """Return the chunk from a sentence on that answers something."""
    points = sorted({a.sentence for a in chunk.asked if a.sentence is not None})
    if not points:
        return chunk
    first = rng.choice(points)
    later = [
        Asked(a.question, a.sentence - first)
        for a in chunk.asked
        if a.sentence is not None and a.sentence >= first
    ]
    # Mostly the first sentence is asked about, but not always.
    asked = [a for a in later if a.sentence == 0 or rng.random() < 0.3]
    refused = [a for a in chunk.asked if a.sentence is None]
    return Chunk(chunk.title, chunk.heading, chunk.sentences[first:], asked + refused)


def _negatives(
    main: Chunk,
    near: list[Chunk],
    documents: list[list[Chunk]],
    rng: random.Random,
    n: int,
) -> list[Chunk]:
    """Return n other chunks, of the same document or with words in common with a question."""
    if n == 0:
        return []
    words = " ".join(a.question for a in main.asked[:2]) or main.text
    pool = [c for c in near if c.text != main.text and main.text not in c.text]
    pool = rng.sample(pool, min(len(pool), 12))
    pool += [rng.choice(rng.choice(documents)) for _ in range(12)]
    pool = [c for c in pool if c is not main and c.text != main.text]
    pool.sort(key=lambda c: -_overlap(words, f"{c.title} {c.text}") + 0.3 * rng.random())
    return pool[:n]


def _exchanges(
    ranked: list[Chunk],
    main: Chunk,
    passages: tuple[Passage, ...],
    habits: Habits,
    rng: random.Random,
) -> Iterator[Exchange]:
    for place, chunk in enumerate(ranked):
        asked = [a for a in chunk.asked if a.sentence is not None]
        refused = [a for a in chunk.asked if a.sentence is None]
        take = 6 if chunk is main else rng.choices((0, 1), (6, 1))[0]
        for item in rng.sample(asked, min(len(asked), take)):
            assert item.sentence is not None
            spans = [Quote(place, *chunk.span(n)) for n in range(len(chunk.sentences))]
            longer = longer_quote(passages[place], spans, item.sentence)
            question = casual(item.question, rng)
            yield answered(question, spans[item.sentence], longer, habits, rng)
        if chunk is main and refused and rng.random() < 0.35:
            yield sorry(casual(rng.choice(refused).question, rng))


def _overlap(question: str, text: str) -> float:
    """Return the share of the question's telling words that stand in the text."""
    asked = _words(question)
    return len(asked & _words(text)) / (len(asked) or 1)


def _words(text: str) -> frozenset[str]:
    return frozenset(w[:5] for w in re.findall(r"\w+", text.lower()) if w not in STOP_WORDS)
