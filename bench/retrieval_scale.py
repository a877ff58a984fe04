"""How quick the search is at 100,000 chunks and its index at a million, beside exact search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from psycopg import Connection

from bench.corpus import more_like, scratch_database
from bench.judged_sets import JudgedSet, dstc11
from bench.report import Row, at_least, at_most
from bench.stopwatch import p50, took_ms_of
from core.db import Database
from core.settings import Settings
from core.types import EVERYONE
from retrieval.embed import Embedder
from retrieval.hybrid import hybrid_search
from retrieval.options import Scope, SearchOptions
from retrieval.search import search
from retrieval.store import replace_document

N_LARGE, N_SMALL, N_HUGE = 100_000, 10_000, 1_000_000
N_TIMED = 200
PLAIN = SearchOptions(limit=3)
N_FILTERED = 50
FEW_SHARE = 100  # one document in this many is for the few
PEER = "LangChain PGVector's default query"  # exact cosine over `vector`, one collection
BUILD_MEMORY = "3GB"  # a million vectors' graph must fit, or its build takes hours
BATCH_ROWS = 50_000


def rows(settings: Settings, data: Path, embedder: Embedder) -> list[Row]:
    """Return the figures; nothing without the public data. Some 15 minutes on two cores."""
    judged = dstc11(data, embedder)
    if judged is None:
        return []
    embeddings_ND = embedder.passages(judged.texts(embedder))
    with scratch_database(settings.dsn) as database:
        _fill(database, judged, embeddings_ND)
        found = _large_rows(database, embedder, [asked.text for asked in judged.questions])
    with scratch_database(settings.dsn) as database:
        return [*found, *_huge_rows(database, embeddings_ND)]


def _fill(database: Database, judged: JudgedSet, embeddings_ND: NDArray[np.float32]) -> None:
    """Store the set and copies of its texts with vectors like its own; lay the peer beside."""
    with database.connect() as conn:
        conn.execute("DROP INDEX chunks_embedding")  # quicker to build at the end
    judged.store(database, embeddings_ND)
    with database.connect() as conn:
        for copy in range((N_LARGE - 1) // len(embeddings_ND)):
            vectors_ND, start = more_like(embeddings_ND, len(embeddings_ND), seed=copy), 0
            for document, chunks in judged.documents:
                part_ND = vectors_ND[start : start + len(chunks)]
                replace_document(conn, document, "", chunks, part_ND, collection=f"copy {copy}")
                start += len(chunks)
        conn.execute("UPDATE documents SET uri = collection || uri, collection = 'help'")
        few = "UPDATE documents SET audience = 'few' WHERE hashtext(uri) %% %s = 0"
        conn.execute(few, (FEW_SHARE,))
        conn.execute("SELECT set_config('maintenance_work_mem', %s, true)", (BUILD_MEMORY,))
        conn.execute("""
            CREATE INDEX chunks_embedding ON chunks USING hnsw (embedding halfvec_cosine_ops)
        """)
        conn.execute("""
            CREATE TABLE peer AS
            SELECT c.id, d.collection, c.body, c.embedding::vector(384) AS embedding,
                   jsonb_build_object('title', d.title, 'uri', d.uri) AS metadata
            FROM chunks c JOIN documents d ON d.id = c.document_id
        """)
        conn.execute("ANALYZE")


def _large_rows(database: Database, embedder: Embedder, texts: Sequence[str]) -> list[Row]:
    asked = texts[:N_TIMED]
    queries_ND = embedder.passages(asked)
    # The chat reads from all audiences here, so that nothing is spared.
    scope, reranking = Scope(audiences=(EVERYONE, "few")), replace(PLAIN, rerank_ms=80)
    with database.connect() as conn:
        n_chunks = _count(conn, "chunks")
        recall = float(np.mean([_index_recall(conn, query_D) for query_D in queries_ND]))
        index_ms = [took_ms_of(_nearest, conn, query_D) for query_D in queries_ND]
        exact_ms = [took_ms_of(_exact, conn, query_D) for query_D in queries_ND]
        peer_ms = [took_ms_of(_peer_search, conn, embedder, text) for text in asked]
        filtered = [_n_for_the_few(conn, query_D) for query_D in queries_ND[:N_FILTERED]]
    ours_ms = [took_ms_of(search, database, embedder, text, PLAIN, scope) for text in asked]
    new_ms = [took_ms_of(search, database, embedder, text, reranking, scope) for text in asked]
    again_ms = [took_ms_of(search, database, embedder, text, reranking, scope) for text in asked]
    label, n = f"{n_chunks} chunks", len(asked)
    few = float(np.mean(filtered))
    return [
        at_least(f"{label}: recall@10 of the index", recall, 0.99, "", peer="exact search", n=n),
        at_most(f"{label}: index p50 / exact p50", p50(index_ms) / p50(exact_ms), 0.04, "x",
                peer="exact search", n=n),
        at_least(f"{label}: found of 10 under a 1 % filter", few, 10, "", n=N_FILTERED),
        at_most(f"{label}: whole search, p50", p50(ours_ms), 25, "ms", n=n),
        at_most(f"{label}: whole search, p99", float(np.quantile(ours_ms, 0.99)), 60, "ms", n=n),
        Row(f"{label}: with rerank, p50, first time", p50(new_ms), "ms", n=n),
        Row(f"{label}: with rerank, p50, again", p50(again_ms), "ms", n=n),
        Row(f"{label}: peer's whole search, p50", p50(peer_ms), "ms", peer=PEER, n=n),
        at_most(f"{label}: whole search / peer's, p50", p50(ours_ms) / p50(peer_ms), 0.5, "x",
                peer=PEER, n=n),
    ]  # fmt: skip


def _count(conn: Connection[Any], table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names
    assert row is not None  # count always yields one row
    return int(row[0])


def _index_recall(conn: Connection[Any], query_D: NDArray[np.float32]) -> float:
    return len(set(_nearest(conn, query_D)) & set(_exact(conn, query_D))) / 10


def _nearest(
    conn: Connection[Any], query_D: NDArray[np.float32], table: str = "chunks"
) -> list[int]:
    """Ask the index for as many candidates as the dense leg does, and keep ten."""
    sql = f"SELECT id FROM {table} ORDER BY embedding <=> %s LIMIT %s"  # noqa: S608 - our own names
    return [key for (key,) in conn.execute(sql, (HalfVector(query_D), PLAIN.n_candidates))][:10]


def _exact(conn: Connection[Any], query_D: NDArray[np.float32]) -> list[int]:
    # Adding zero keeps the planner from using the index.
    sql = "SELECT id FROM chunks ORDER BY (embedding <=> %s) + 0 LIMIT 10"
    return [key for (key,) in conn.execute(sql, (HalfVector(query_D),))]


def _n_for_the_few(conn: Connection[Any], query_D: NDArray[np.float32]) -> int:
    """Return how many of ten passages a search finds that only one in a hundred may read."""
    found = hybrid_search(conn, query_D, "", PLAIN, Scope(audiences=("few",)), limit=10)
    return len(found)


def _peer_search(conn: Connection[Any], embedder: Embedder, text: str) -> None:
    sql = """
        SELECT id, body, metadata, embedding <=> %(query)s AS distance
        FROM peer WHERE collection = 'help' ORDER BY distance LIMIT 3
    """
    conn.execute(sql, {"query": Vector(embedder.query(text))}).fetchall()


def _huge_rows(database: Database, embeddings_ND: NDArray[np.float32]) -> list[Row]:
    """Compare the index over ten thousand vectors with the one over a million, in turn."""
    queries_ND = more_like(embeddings_ND, N_TIMED, seed=1)
    with database.connect() as conn:
        for table, n_rows in (("small", N_SMALL), ("huge", N_HUGE)):
            _lay_vectors(conn, table, n_rows, embeddings_ND)
    took_ms: dict[str, list[float]] = {"small": [], "huge": []}
    with database.connect() as conn:
        for query_D in queries_ND:  # once to warm up, once to count
            for table in took_ms:
                _nearest(conn, query_D, table)
        for query_D in queries_ND:
            for table, times_ms in took_ms.items():
                times_ms.append(took_ms_of(_nearest, conn, query_D, table))
    small, huge = p50(took_ms["small"]), p50(took_ms["huge"])
    n = len(queries_ND)
    return [
        Row(f"{N_SMALL} vectors: index p50", small, "ms", n=n),
        Row(f"{N_HUGE} vectors: index p50", huge, "ms", n=n),
        at_most("index p50 at a million / at ten thousand", huge / small, 2, "x", n=n),
    ]


def _lay_vectors(
    conn: Connection[Any], table: str, n_rows: int, embeddings_ND: NDArray[np.float32]
) -> None:
    """Make a table of n_rows vectors spread like the given ones, indexed as chunks are."""
    conn.execute(f"CREATE UNLOGGED TABLE {table} (id bigint, embedding halfvec(384))")
    copying = f"COPY {table} FROM STDIN WITH (FORMAT BINARY)"
    with conn.cursor() as cur, cur.copy(copying) as copy:
        copy.set_types(["int8", "halfvec"])
        for start in range(0, n_rows, BATCH_ROWS):
            vectors_ND = more_like(embeddings_ND, min(BATCH_ROWS, n_rows - start), seed=start)
            for number, vector_D in enumerate(vectors_ND, start):
                copy.write_row((number, HalfVector(vector_D)))
    conn.execute("SELECT set_config('maintenance_work_mem', %s, true)", (BUILD_MEMORY,))
    conn.execute(f"CREATE INDEX ON {table} USING hnsw (embedding halfvec_cosine_ops)")
