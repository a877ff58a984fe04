"""Public sets of questions with judged answers, as documents to store and texts to search for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.db import Database
from core.jsonl import read_own_jsonl
from retrieval.chunk import Chunk, contextual_text, split
from retrieval.embed import Embedder
from retrieval.load import LoadedDocument
from retrieval.store import replace_document

CHUNK_TOKENS = 120
CONTEXT_TURNS = 3  # the last question of a dialogue names nothing; two turns before do
N_SQUAD = 600  # questions, of 8,844

Place = tuple[str, int]  # a chunk: its document's uri, its position


@dataclass(frozen=True, slots=True)
class JudgedText:
    """What is searched for, and the names of what answers it."""

    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Documents cut into chunks, and questions on them; `name_of` names a chunk as judged."""

    name: str
    documents: Sequence[tuple[LoadedDocument, Sequence[Chunk]]]
    questions: Sequence[JudgedText]
    name_of: Callable[[Place], str]

    def texts(self, embedder: Embedder) -> list[str]:
        """Return what is embedded, chunk after chunk."""
        return [
            contextual_text(document.title, chunk, embedder.count_tokens)
            for document, chunks in self.documents
            for chunk in chunks
        ]

    def places(self) -> list[Place]:
        """Return the chunks in the order of `texts`."""
        return [(d.uri, chunk.position) for d, chunks in self.documents for chunk in chunks]

    def store(self, database: Database, embeddings_ND: NDArray[np.float32]) -> None:
        """Store every document with its rows of embeddings."""
        start = 0
        with database.connect() as conn:
            for document, chunks in self.documents:
                rows_ND = embeddings_ND[start : start + len(chunks)]
                replace_document(conn, document, "", chunks, rows_ND)
                start += len(chunks)


def dstc11(data: Path, embedder: Embedder) -> JudgedSet | None:
    """Return DSTC11 if it lies in the data folder."""
    there = (data / "retrieval" / "dstc11" / "corpus.jsonl").exists()
    return _dstc11(data, embedder) if there else None


def judged_sets(data: Path, embedder: Embedder) -> list[JudgedSet]:
    """Return the sets that lie in the data folder; fetched by hand, never part of the project."""
    readers = {
        "retrieval/dstc11/corpus.jsonl": _dstc11,
        "qa/squad.jsonl": _squad,
        "kb/arduino_help_center.jsonl": _arduino,
    }
    return [read(data, embedder) for file, read in readers.items() if (data / file).exists()]


def _dstc11(data: Path, embedder: Embedder) -> JudgedSet:
    """Snippets on hotels and restaurants; the last three turns of a dialogue ask."""
    folder = data / "retrieval" / "dstc11"
    names: dict[Place, str] = {}
    of_place: dict[str, tuple[LoadedDocument, list[Chunk]]] = {}
    for row in read_own_jsonl(folder / "corpus.jsonl"):
        uri = "/".join(row["_id"].split("/")[:2])  # hotel/0/faq/1 → hotel/0
        document = LoadedDocument(uri, row["entity"], "text/plain", row["entity"])
        _, chunks = of_place.setdefault(uri, (document, []))
        heading = (row["title"],) if row["title"] else ()
        n_tokens = embedder.count_tokens(row["text"]) or 1
        names[uri, len(chunks)] = row["_id"]
        chunks.append(Chunk(len(chunks), heading, row["text"], n_tokens))
    asked = [
        JudgedText(
            " ".join(text for _, text in row["dialogue"][-CONTEXT_TURNS:]),
            frozenset(row["relevant"]),
        )
        for row in read_own_jsonl(folder / "dialogues.jsonl")
        if row["relevant"]
    ]
    return JudgedSet("DSTC11", list(of_place.values()), asked, names.__getitem__)


def _squad(data: Path, embedder: Embedder) -> JudgedSet:
    """Paragraphs of Wikipedia, each a document; a question is answered by its own."""
    uris: dict[str, str] = {}
    asked, documents = [], []
    for row in read_own_jsonl(data / "qa" / "squad.jsonl"):
        uri = uris.get(row["context"])
        if uri is None:
            uri = uris[row["context"]] = f"{row['title']}/{len(uris)}"
            title = row["title"].replace("_", " ")
            documents.append(_cut(uri, title, row["context"], "text/plain", embedder))
        if row["answerable"]:
            asked.append(JudgedText(row["question"], frozenset({uri})))
    sample = random.Random(0).sample(asked, min(N_SQUAD, len(asked)))  # noqa: S311 - no secret
    return JudgedSet("SQuAD", documents, sample, lambda place: place[0])


def _arduino(data: Path, embedder: Embedder) -> JudgedSet:
    """Articles of a help centre; each is asked for by its title, which is not stored with it."""
    documents, asked = [], []
    for row in read_own_jsonl(data / "kb" / "arduino_help_center.jsonl"):
        uri = str(row["_id"])
        cut = _cut(uri, row["section"] or "", row["markdown"], "text/markdown", embedder)
        if cut[1]:
            documents.append(cut)
            asked.append(JudgedText(row["title"], frozenset({uri})))
    return JudgedSet("Arduino help", documents, asked, lambda place: place[0])


def _cut(
    uri: str, title: str, text: str, media_type: str, embedder: Embedder
) -> tuple[LoadedDocument, list[Chunk]]:
    document = LoadedDocument(uri, title, media_type, text)
    return document, split(document, embedder.count_tokens, CHUNK_TOKENS)
