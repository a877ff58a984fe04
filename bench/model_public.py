"""The model on public questions held out of its training, through the real retrieval."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from bench.corpus import DATA, scratch_database
from bench.model_answers import Asker, Reply, share
from bench.report import Row, at_least
from core.db import Database
from core.settings import Settings
from core.vllm import VllmClient
from examples.recipe.mix import Mixture
from examples.recipe.public import Asked
from examples.recipe.public import Chunk as TrainedChunk
from retrieval.chunk import Chunk, contextual_text
from retrieval.embed import Embedder
from retrieval.load import LoadedDocument
from retrieval.store import replace_document

SETS = ("squad", "dstc11")
N_QUESTIONS = 100  # of each set


def public_rows(settings: Settings, vllm: VllmClient) -> list[Row]:
    """Return how often the answering sentence is said word for word; nothing without the data."""
    if not (DATA / "qa").is_dir():
        return []
    mixture, rows = Mixture(DATA), []
    for name in SETS:
        with scratch_database(settings.dsn) as database:
            asker = Asker(settings, database, vllm)
            documents = mixture.held_out[name]
            _store(database, asker.embedder, documents)
            asked = _questions(documents)
            replies = asker.ask_all([question for question, _ in asked])
            rows += _rows(name, [sentence for _, sentence in asked], replies)
    return rows


def _store(database: Database, embedder: Embedder, documents: Sequence[list[TrainedChunk]]) -> None:
    """Store each held-out document with its passages as the model's trainer cut them."""
    for number, chunks in enumerate(documents):
        rows = [_as_chunk(place, chunk, embedder) for place, chunk in enumerate(chunks)]
        title = chunks[0].title
        texts = [contextual_text(title, row, embedder.count_tokens) for row in rows]
        document = LoadedDocument(f"held-out/{number}", title, "text/plain", title)
        vectors_ND = np.asarray(embedder.passages(texts), dtype=np.float32)
        with database.connect() as conn:
            replace_document(conn, document, f"held-out-{number}", rows, vectors_ND)


def _as_chunk(place: int, chunk: TrainedChunk, embedder: Embedder) -> Chunk:
    heading = (chunk.heading,) if chunk.heading else ()
    return Chunk(place, heading, chunk.text, embedder.count_tokens(chunk.text) or 1)


def _questions(documents: Sequence[list[TrainedChunk]]) -> list[tuple[str, str]]:
    """Return N_QUESTIONS questions, each with the sentence that answers it."""
    rng = random.Random(0)  # noqa: S311 - a sample, not a secret
    found = [
        (asked.question, chunk.sentences[place])
        for chunks in documents
        for chunk in chunks
        for asked, place in _answered(chunk)
    ]
    return rng.sample(found, min(N_QUESTIONS, len(found)))


def _answered(chunk: TrainedChunk) -> Iterator[tuple[Asked, int]]:
    for asked in chunk.asked:
        if asked.sentence is not None:
            yield asked, asked.sentence


def _rows(name: str, sentences: Sequence[str], replies: Sequence[Reply]) -> list[Row]:
    said = [s in reply.text for s, reply in zip(sentences, replies, strict=True)]
    shown = [
        any(s in p.body for p in reply.passages)
        for s, reply in zip(sentences, replies, strict=True)
    ]
    return [
        at_least(f"{name}, held out: sentence said", share(said), 0.65, "share", n=len(said)),
        Row(f"{name}, held out: sentence shown", share(shown), "share", n=len(shown)),
    ]
