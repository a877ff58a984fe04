"""Questions with their right articles → recall, nDCG and MRR, leg by leg and as the chat finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.db import Database
from core.errors import InvalidInput
from core.settings import get_settings
from core.types import Passage
from retrieval.comparison import compare
from retrieval.embed import Embedder, TokenVectors
from retrieval.hybrid import hybrid_search, word_rarities
from retrieval.metrics import METRICS, bounded_mean, recall_at
from retrieval.queries import ArticleNames, JudgedQuery, read_queries
from retrieval.query_sets import queries_from_turns
from retrieval.recall_picture import draw_recall
from retrieval.rerank import get_reranker
from retrieval.search import SearchOptions
from retrieval.store import document_hashes
from retrieval.tuning import Tuning

__all__ = ["LEGS", "evaluate", "evaluate_file", "read_queries", "run_job"]

LEGS = ("dense", "text", "fused", "reranked")  # the last is left out where nothing is reranked
RERANK_MS = 60_000.0  # the chat has less: its answer waits, figures must not depend on the load
CURVE_K = range(1, 11)
MAX_MISSES = 200  # listed, the worst first
N_FOUND = 3  # articles named with a miss
OnProgress = Callable[[int, int, str], None]  # done, of how many, what
Rankings = dict[str, list[list[str]]]  # by leg: for each query the uris, best first


def evaluate_file(
    db: Database,
    embedder: Embedder,
    path: Path,
    *,
    collection: str = "help",
    picture: Path | None = None,
    against: Tuning | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """
    Search every question of a file and return what `evaluate` does; with `picture` draw it too.

    Raises:
        InvalidInput: The file can't be used.
        DatabaseUnavailable: Postgres can't be reached.
    """
    queries = read_queries(path)
    figures = evaluate(
        db, embedder, queries, collection=collection, against=against, on_progress=on_progress
    )
    if picture:
        draw_recall(figures, picture)
    return {"queries": str(path), **figures, "picture": str(picture) if picture else None}


def evaluate(
    db: Database,
    embedder: Embedder,
    queries: Sequence[JudgedQuery],
    *,
    collection: str = "help",
    against: Tuning | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """
    Search every question as the chat would and return the figures, ready for JSON.

    `legs` maps dense, text, fused and reranked to each metric's value with its 95 % bootstrap
    interval and to `recall_curve`, recall@1 to @10; `final` names the leg that the chat answers
    from, and `misses` are the questions whose first article there is not a right one; `unknown`
    names articles that are not ingested. With `against` the same questions are searched in
    another way too, and `against` says what differs.
    """
    now = Tuning.in_use()
    if against == now:
        raise InvalidInput("these are the settings in use already; name others to compare with")
    with db.connect() as conn:
        names = ArticleNames(document_hashes(conn, collection))
    uri_of = {name: names.uri_of(name) for query in queries for name in query.relevant}
    judged = [{uri_of[name] or name for name in query.relevant} for query in queries]
    ways = [now, *([against] if against else [])]
    ranked = _search_all(db, embedder, queries, ways, collection, on_progress)
    final = [_final_leg(tuning) for tuning in ways]
    result: dict[str, Any] = {
        "n_queries": len(queries),
        "unknown": sorted(name for name, uri in uri_of.items() if uri is None),
        "settings": asdict(now),
        "final": final[0],
        "legs": {leg: _figures(ranking, judged) for leg, ranking in ranked[0].items()},
        "misses": _misses(queries, ranked[0][final[0]], judged),
    }
    if against:
        result["against"] = {
            "settings": asdict(against),
            "final": final[1],
            "legs": {leg: _figures(ranking, judged) for leg, ranking in ranked[1].items()},
            **compare(ranked[0][final[0]], ranked[1][final[1]], judged, against),
        }
    return result


def _final_leg(tuning: Tuning) -> str:
    return "reranked" if tuning.rerank else "fused"


def _search_all(
    db: Database,
    embedder: Embedder,
    queries: Sequence[JudgedQuery],
    ways: Sequence[Tuning],
    collection: str,
    on_progress: OnProgress | None,
) -> list[Rankings]:
    """Return one set of rankings for each way to search."""
    ranked: list[Rankings] = [
        {leg: [] for leg in LEGS if tuning.rerank or leg != "reranked"} for tuning in ways
    ]
    for n_done, query in enumerate(queries, start=1):
        [asked] = embedder.token_vectors([query.search_text])
        for tuning, rankings in zip(ways, ranked, strict=True):
            found = _candidates(db, embedder, query.search_text, asked, tuning, collection)
            for leg, passages in found.items():
                rankings[leg].append(_articles(passages, leg))
        if on_progress:
            on_progress(n_done, len(queries), "searching")
    return ranked


def _candidates(
    db: Database,
    embedder: Embedder,
    text: str,
    asked: TokenVectors,
    tuning: Tuning,
    collection: str,
) -> dict[str, list[Passage]]:
    """Return for each leg all candidates of both, in the order the product's search finds."""
    with db.connect() as conn:
        fused = hybrid_search(
            conn,
            asked.vector,
            text,
            collection=collection,
            audiences=SearchOptions.of(get_settings()).audiences,
            limit=2 * tuning.n_candidates,
            n_candidates=tuning.n_candidates,
            rrf_k=tuning.rrf_k,
            text_weight=tuning.text_weight,
        )
        if not tuning.rerank:
            return dict.fromkeys(LEGS[:3], fused)
        rarity = word_rarities(conn, [word for word in asked.words if word])
    reranked, _ = get_reranker(embedder).rerank(asked, rarity, fused, budget_ms=RERANK_MS)
    return dict.fromkeys(LEGS[:3], fused) | {"reranked": reranked}


def _articles(passages: Iterable[Passage], leg: str) -> list[str]:
    """Return the articles in the order in which the leg first met them."""
    ranks = {"dense": "dense_rank", "text": "text_rank"}
    met = [(getattr(passage, ranks.get(leg, "rank")), passage.uri) for passage in passages]
    return list(dict.fromkeys(uri for rank, uri in sorted(m for m in met if m[0] is not None)))


def _figures(rankings: list[list[str]], judged: list[set[str]]) -> dict[str, Any]:
    pairs = list(zip(rankings, judged, strict=True))
    figures: dict[str, Any] = {
        name: asdict(bounded_mean([metric(ranking, relevant) for ranking, relevant in pairs]))
        for name, metric in METRICS.items()
    }
    figures["recall_curve"] = [
        sum(recall_at(ranking, relevant, k) for ranking, relevant in pairs) / len(pairs)
        for k in CURVE_K
    ]
    return figures


def _misses(
    queries: Sequence[JudgedQuery], rankings: list[list[str]], judged: list[set[str]]
) -> list[dict[str, Any]]:
    """Return the questions without a right article in the first place, not found at all first."""
    missed: list[dict[str, Any]] = []
    for query, ranking, relevant in zip(queries, rankings, judged, strict=True):
        rank = next((n for n, uri in enumerate(ranking, start=1) if uri in relevant), None)
        if rank != 1:
            # Of a turn only the id: a result outlives the conversation, its words must not.
            asked = (
                {"turn_id": query.turn_id}
                if query.turn_id
                else {"question": query.question, "previous": query.previous}
            )
            found = {"wanted": sorted(relevant), "found": ranking[:N_FOUND], "rank": rank}
            missed.append(asked | found)
    missed.sort(key=lambda miss: -(miss["rank"] or 10**9))
    return missed[:MAX_MISSES]


def run_job(
    db: Database, embedder: Embedder, request: Mapping[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    """
    Carry out an evaluation that a page asked for and return its figures, ready for JSON.

    `request` holds `queries`: "turns", or a file below the company's folder or the home; and
    optionally `against`, other settings of the search.

    Raises:
        InvalidInput: The request or its file can't be used, or no turn has been judged yet.
    """
    named = request.get("queries")
    against = Tuning.of(request["against"]) if request.get("against") else None
    if named == "turns":
        with db.connect() as conn:
            queries = queries_from_turns(conn)
    else:
        queries = read_queries(_allowed_file(named))
    return {
        "queries": named,
        **evaluate(db, embedder, queries, against=against, on_progress=on_progress),
    }


def _allowed_file(named: object) -> Path:
    """Return the file's path if a page may name it: nothing else of the machine is readable."""
    path = Path(str(named)).resolve()
    folders = (get_settings().company.resolve(), get_settings().home.resolve())
    if not any(path.is_relative_to(folder) for folder in folders):
        raise InvalidInput(f"{path} is not in the company's folder or the home; move it there")
    return path
