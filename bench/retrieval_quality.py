"""How well the search orders: its legs, their fusion, the rerank, and plain cosine beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.corpus import scratch_database
from bench.judged_sets import JudgedSet, JudgedText, judged_sets
from bench.report import Row, at_least
from core.company import load_company
from core.db import Database
from core.settings import Settings
from retrieval.embed import Embedder, TokenVectors
from retrieval.evaluate import LEGS, evaluate, leg_order
from retrieval.ingest import ingest
from retrieval.metrics import bootstrap_ratio, ndcg_at
from retrieval.options import Scope, SearchOptions
from retrieval.queries import read_queries
from retrieval.search import find_candidates

PEER = "LangChain PGVector's default: exact cosine, same vectors"
METRICS = ("recall@1", "recall@5", "recall@10", "ndcg@10", "mrr")
PATIENT = SearchOptions(limit=10, rerank_ms=60_000)  # the order is judged here, not the time
Ranking = dict[str, list[str]]  # by leg: the judged names, best first


def company_rows(database: Database, embedder: Embedder, settings: Settings) -> list[Row]:
    """Return the figures of the sample company's golden questions, leg by leg."""
    ingest(database, embedder, [load_company(settings.company).articles])
    queries, options = read_queries(settings.company / "golden.jsonl"), SearchOptions.of(settings)
    found = evaluate(database, embedder, queries, options, Scope.of(settings))
    return [
        Row(f"sample company: {metric}, {leg}", each.value, "", n=found.n_queries,
            ci=(each.low, each.high))
        for leg, figures in found.legs.items()
        for metric, each in figures.metrics.items()
        if metric in METRICS
    ]  # fmt: skip


def public_rows(settings: Settings, data: Path, embedder: Embedder) -> list[Row]:
    """Return the figures of every public set in the data folder, each in its own database."""
    rows: list[Row] = []
    for judged in judged_sets(data, embedder):
        with scratch_database(settings.dsn) as database:
            embeddings_ND = embedder.passages(judged.texts(embedder))
            judged.store(database, embeddings_ND)
            rows += _set_rows(database, embedder, judged, embeddings_ND)
    return rows


def _set_rows(
    database: Database, embedder: Embedder, judged: JudgedSet, embeddings_ND: NDArray[np.float32]
) -> list[Row]:
    names = [judged.name_of(place) for place in judged.places()]
    with database.connect() as conn:
        sql = """
            SELECT c.id, d.uri, c.position FROM chunks c JOIN documents d ON d.id = c.document_id
        """
        name_of = {key: judged.name_of((uri, at)) for key, uri, at in conn.execute(sql)}
    rankings = []
    for question in judged.questions:
        [asked] = embedder.token_vectors([question.text])
        ranking = _ranking(database, embedder, question, asked, name_of)
        nearest = np.argsort(-embeddings_ND @ asked.vector, kind="stable")[: PATIENT.n_candidates]
        rankings.append(ranking | {"cosine": _unique(names[at] for at in nearest)})
    return _quality_rows(judged, rankings)


def _ranking(
    database: Database,
    embedder: Embedder,
    question: JudgedText,
    asked: TokenVectors,
    name_of: dict[int, str],
) -> Ranking:
    found = find_candidates(database, embedder, question.text, asked, PATIENT, Scope())
    return {
        leg: _unique(name_of[p.chunk_id] for p in leg_order(found, leg) if p.chunk_id is not None)
        for leg in LEGS
    }


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _quality_rows(judged: JudgedSet, rankings: Sequence[Ranking]) -> list[Row]:
    ndcg = {
        leg: [
            ndcg_at(ranking[leg], question.relevant, 10)
            for ranking, question in zip(rankings, judged.questions, strict=True)
        ]
        for leg in ("dense", "text", "fused", "reranked", "cosine")
    }
    n, name = len(judged.questions), judged.name
    rows = [Row(f"{name}: ndcg@10, {leg}", float(np.mean(ndcg[leg])), "", n=n) for leg in ndcg]
    better = max(("dense", "text"), key=lambda leg: np.mean(ndcg[leg]))
    return [
        *rows,
        _ratio_row(f"{name}: ndcg@10, fused / {better}", ndcg["fused"], ndcg[better], "its leg"),
        _ratio_row(f"{name}: ndcg@10, fused / default", ndcg["fused"], ndcg["cosine"], PEER),
        _ratio_row(f"{name}: ndcg@10, reranked / default", ndcg["reranked"], ndcg["cosine"], PEER),
    ]


def _ratio_row(name: str, ours: list[float], theirs: list[float], peer: str) -> Row:
    """Return the ratio with its paired bootstrap interval."""
    ratio = bootstrap_ratio(ours, theirs)
    row = at_least(name, ratio.value, 1.05, "x", peer=peer, n=len(ours))
    return Row(row.name, row.value, row.unit, row.target, row.holds, peer, row.n,
               (ratio.low, ratio.high))  # fmt: skip
