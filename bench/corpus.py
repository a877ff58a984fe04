"""What the retrieval bench searches: a scratch database, and a public set of judged snippets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.conninfo import make_conninfo

from core.db import Database
from core.settings import ROOT
from migrations.apply import apply
from retrieval.chunk import Chunk, contextual_text
from retrieval.embed import Embedder
from retrieval.load import LoadedDocument

# DSTC11 track 5, as corpus.jsonl and dialogues.jsonl; fetched by hand, never part of the project.
DSTC11 = ROOT / "var" / "data" / "retrieval" / "dstc11"
CONTEXT_TURNS = 3  # the last question of a dialogue names nothing; two turns before do


@dataclass(frozen=True, slots=True)
class Snippet:
    """One piece of knowledge with its judged name; `document` groups those of one place."""

    name: str
    document: str
    title: str
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class JudgedDialogue:
    """The end of a dialogue, and the names of the snippets that answer it."""

    text: str
    relevant: frozenset[str]


@contextmanager
def scratch_database(dsn: str) -> Iterator[Database]:
    """Yield a new migrated database on the same server, dropped at the end."""
    name = f"bench_{uuid4().hex}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    own_dsn = make_conninfo(dsn, dbname=name)
    apply(own_dsn)
    database = Database(own_dsn).open()
    try:
        yield database
    finally:
        database.close()
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def read_snippets(folder: Path, embedder: Embedder) -> list[Snippet]:
    """Return the knowledge of DSTC11, ordered by document, each snippet a chunk."""
    rows = sorted(_read_jsonl(folder / "corpus.jsonl"), key=lambda row: _document(row["_id"]))
    snippets = []
    for document, group in groupby(rows, key=lambda row: _document(row["_id"])):
        for position, row in enumerate(group):
            heading = (row["title"],) if row["title"] else ()
            n_tokens = embedder.count_tokens(row["text"]) or 1
            chunk = Chunk(position, heading, row["text"], n_tokens)
            snippets.append(Snippet(row["_id"], document, row["entity"], chunk))
    return snippets


def _document(snippet_id: str) -> str:
    return "/".join(snippet_id.split("/")[:2])  # hotel/0/faq/1 → hotel/0


def read_dialogues(folder: Path) -> list[JudgedDialogue]:
    """Return the dialogues whose last question needs knowledge."""
    return [
        JudgedDialogue(
            " ".join(text for _, text in row["dialogue"][-CONTEXT_TURNS:]),
            frozenset(row["relevant"]),
        )
        for row in _read_jsonl(folder / "dialogues.jsonl")
        if row["relevant"]
    ]


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def snippet_texts(snippets: Sequence[Snippet], embedder: Embedder) -> list[str]:
    """Return what is embedded for each snippet."""
    return [contextual_text(each.title, each.chunk, embedder.count_tokens) for each in snippets]


def as_documents(
    snippets: Sequence[Snippet], embeddings_ND: NDArray[np.float32]
) -> Iterator[tuple[LoadedDocument, list[Chunk], NDArray[np.float32]]]:
    """Group snippets, which are ordered by document, into documents with their rows."""
    start = 0
    for uri, group in groupby(snippets, key=lambda snippet: snippet.document):
        members = list(group)
        document = LoadedDocument(uri, members[0].title, "text/plain", members[0].title)
        rows_ND = embeddings_ND[start : start + len(members)]
        yield document, [member.chunk for member in members], rows_ND
        start += len(members)


def more_like(embeddings_ND: NDArray[np.float32], n: int, seed: int) -> NDArray[np.float32]:
    """
    Return n unit vectors spread like the given ones: each between two of them, with noise.

    Random directions would be no test: real embeddings lie in clusters.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(embeddings_ND), size=(2, n))
    share = rng.uniform(0.5, 1.0, size=(n, 1))
    mixed = share * embeddings_ND[first] + (1 - share) * embeddings_ND[second]
    mixed += rng.normal(scale=0.01, size=mixed.shape)
    unit: NDArray[np.float32] = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
