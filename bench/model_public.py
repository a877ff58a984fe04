"""The model on public questions held out of its training, through the real retrieval."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.corpus import DATA, scratch_database
from bench.model_answers import Asker, Reply, share
from bench.report import Row, at_least
from core.db import Database
from core.settings import Settings
from core.types import HELP
from core.vllm import VllmClient
from examples.recipe.mix import Mixture
from examples.recipe.public import PublicChunk
from retrieval.chunk import Chunk, contextual_text
from retrieval.embed import Embedder
from retrieval.load import LoadedDocument
from retrieval.store import replace_document

N_QUESTIONS = 100  # of each set


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question, the sentence that answers it, and the document that holds the sentence."""

    question: str
    sentence: str
    document: int


def public_answer_rows(settings: Settings, vllm: VllmClient) -> list[Row]:
    """
    Return how often the answering sentence is said word for word; nothing without the data.

    DSTC11's customers don't say again which hotel they are talking about, so its questions are
    asked twice: of all hotels' answers together, where most questions fit many, and of the one
    hotel's own, as its help page would be asked.
    """
    if not (DATA / "qa").is_dir():
        return []
    mixture = Mixture(DATA)
    squad, dstc11 = mixture.held_out["squad"], mixture.held_out["dstc11"]
    return [
        *_asked(settings, vllm, "squad", squad, together=True),
        *_asked(settings, vllm, "dstc11, all hotels", dstc11, together=True),
        *_asked(settings, vllm, "dstc11, own hotel", dstc11, together=False),
    ]


def _asked(
    settings: Settings,
    vllm: VllmClient,
    name: str,
    documents: Sequence[list[PublicChunk]],
    *,
    together: bool,
) -> list[Row]:
    homes = [HELP if together else f"of-{number}" for number in range(len(documents))]
    with scratch_database(settings.dsn) as database:
        asker = Asker(settings, database, vllm)
        for number, chunks in enumerate(documents):
            _store(database, asker.planner.embedder, number, chunks, homes[number])
        wanted = _questions(documents)
        replies = asker.ask_all([w.question for w in wanted], [homes[w.document] for w in wanted])
    return _rows(name, [w.sentence for w in wanted], replies)


def _store(
    database: Database,
    embedder: Embedder,
    number: int,
    chunks: Sequence[PublicChunk],
    collection: str,
) -> None:
    """Store a held-out document with its passages as the model's trainer cut them."""
    rows = [_as_chunk(place, chunk, embedder) for place, chunk in enumerate(chunks)]
    title = chunks[0].title
    texts = [contextual_text(title, row, embedder.count_tokens) for row in rows]
    document = LoadedDocument(f"held-out/{number}", title, "text/plain", title)
    vectors_ND = np.asarray(embedder.passages(texts), dtype=np.float32)
    with database.connect() as conn:
        sha256 = f"held-out-{number}"
        replace_document(conn, document, sha256, rows, vectors_ND, collection=collection)


def _as_chunk(place: int, chunk: PublicChunk, embedder: Embedder) -> Chunk:
    heading = (chunk.heading,) if chunk.heading else ()
    return Chunk(place, heading, chunk.text, embedder.count_tokens(chunk.text) or 1)


def _questions(documents: Sequence[list[PublicChunk]]) -> list[Wanted]:
    """Return N_QUESTIONS questions, or all if there are fewer."""
    rng = random.Random(0)  # noqa: S311 - a sample, not a secret
    found = [
        Wanted(asked.question, chunk.sentences[asked.sentence], number)
        for number, chunks in enumerate(documents)
        for chunk in chunks
        for asked in chunk.asked
        if asked.sentence is not None
    ]
    return rng.sample(found, min(N_QUESTIONS, len(found)))


def _rows(name: str, sentences: Sequence[str], replies: Sequence[Reply]) -> list[Row]:
    said = [s in reply.text for s, reply in zip(sentences, replies, strict=True)]
    shown = [
        any(s in p.body for p in reply.plan.passages)
        for s, reply in zip(sentences, replies, strict=True)
    ]
    return [
        at_least(f"{name}, held out: sentence said", share(said), 0.65, "share", n=len(said)),
        Row(f"{name}, held out: sentence shown", share(shown), "share", n=len(shown)),
    ]
