"""Questions with their right articles → recall, nDCG and MRR, leg by leg and as the chat finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.db import Database
from core.errors import InvalidInput
from core.settings import Settings
from core.types import Passage
from retrieval.adoption import current_options
from retrieval.comparison import PRIMARY, compare, is_better, verdict
from retrieval.embed import Embedder, get_embedder
from retrieval.figures import Comparison, Evaluation, LegFigures, Miss
from retrieval.metrics import METRICS, bounded_mean, recall_at
from retrieval.options import Scope, SearchOptions, in_words
from retrieval.queries import ArticleNames, JudgedQuery, read_queries
from retrieval.query_sets import queries_from_turns
from retrieval.search import Candidates, find_candidates
from retrieval.store import document_hashes

LEGS = ("dense", "text", "fused", "reranked")  # the last is left out where nothing is reranked
RERANK_MS = 60_000.0  # the chat has less: its answer waits, figures must not depend on the load
CURVE_K = range(1, 11)
MAX_MISSES = 200  # listed, the worst first
N_FOUND = 3  # articles named with a miss
OnProgress = Callable[[int, int, str], None]  # done, of how many, what
Rankings = dict[str, list[list[str]]]  # by leg: for each query the uris, best first


def evaluate(
    db: Database,
    embedder: Embedder,
    queries: Sequence[JudgedQuery],
    options: SearchOptions,
    scope: Scope,
    *,
    against: SearchOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """
    Search every question as the chat would and judge the order in which articles are found.

    With `against` the same questions are searched in another way too, and compared.

    Raises:
        InvalidInput: `against` is what is in use.
        DatabaseUnavailable: Postgres can't be reached.
    """
    if against == options:
        raise InvalidInput("these are the settings in use already; name others to compare with")
    with db.connect() as conn:
        names = ArticleNames(
            uri for collection in scope.collections for uri in document_hashes(conn, collection)
        )
    uri_of = {name: names.uri_of(name) for query in queries for name in query.relevant}
    judged = [{uri_of[name] or name for name in query.relevant} for query in queries]
    ways = [options, *([against] if against else [])]
    now, *other = _search_all(db, embedder, queries, ways, scope, on_progress)
    final = _final_leg(options)
    return Evaluation(
        n_queries=len(queries),
        unknown=sorted(name for name, uri in uri_of.items() if uri is None),
        settings=options.figures,
        final=final,
        legs=_figures(now, judged),
        misses=_misses(queries, now[final], judged),
        against=_comparison(options, against, now, other[0], judged) if against else None,
    )


def _final_leg(options: SearchOptions) -> str:
    return "reranked" if options.rerank_ms else "fused"


def _comparison(
    options: SearchOptions,
    against: SearchOptions,
    now: Rankings,
    other: Rankings,
    judged: Sequence[set[str]],
) -> Comparison:
    differences = compare(now[_final_leg(options)], other[_final_leg(against)], judged)
    named = in_words(against.differences(options))
    return Comparison(
        settings=against.figures,
        final=_final_leg(against),
        legs=_figures(other, judged),
        differences=differences,
        verdict=verdict(differences[PRIMARY], len(judged), named),
        won=is_better(differences[PRIMARY]),
    )


def _search_all(
    db: Database,
    embedder: Embedder,
    queries: Sequence[JudgedQuery],
    ways: Sequence[SearchOptions],
    scope: Scope,
    on_progress: OnProgress | None,
) -> list[Rankings]:
    """Return one set of rankings for each way to search."""
    patient = [replace(way, rerank_ms=RERANK_MS if way.rerank_ms else 0) for way in ways]
    ranked: list[Rankings] = [
        {leg: [] for leg in LEGS if way.rerank_ms or leg != "reranked"} for way in ways
    ]
    for n_done, query in enumerate(queries, start=1):
        text = query.search_text
        [asked] = embedder.token_vectors([text])
        for way, rankings in zip(patient, ranked, strict=True):
            found = find_candidates(db, embedder, text, asked, way, scope)
            for leg, ranking in rankings.items():
                ranking.append(_articles(found, leg))
        if on_progress:
            on_progress(n_done, len(queries), "searching")
    return ranked


def _articles(found: Candidates, leg: str) -> list[str]:
    """Return the articles in the order in which the leg first met them."""
    return list(dict.fromkeys(passage.uri for passage in leg_order(found, leg)))


def leg_order(found: Candidates, leg: str) -> list[Passage]:
    """Return the candidates as one of LEGS ranks them, best first."""
    if leg in ("fused", "reranked"):
        return found.fused if leg == "fused" else found.ranked
    name = f"{leg}_rank"
    met = [passage for passage in found.fused if getattr(passage, name) is not None]
    return sorted(met, key=lambda passage: int(getattr(passage, name)))


def _figures(rankings: Rankings, judged: Sequence[set[str]]) -> dict[str, LegFigures]:
    return {leg: _leg_figures(ranking, judged) for leg, ranking in rankings.items()}


def _leg_figures(rankings: list[list[str]], judged: Sequence[set[str]]) -> LegFigures:
    pairs = list(zip(rankings, judged, strict=True))
    metrics = {
        name: bounded_mean([metric(ranking, relevant) for ranking, relevant in pairs])
        for name, metric in METRICS.items()
    }
    curve = [
        sum(recall_at(ranking, relevant, k) for ranking, relevant in pairs) / len(pairs)
        for k in CURVE_K
    ]
    return LegFigures(metrics, curve)


def _misses(
    queries: Sequence[JudgedQuery], rankings: list[list[str]], judged: list[set[str]]
) -> list[Miss]:
    """Return the questions without a right article in the first place, not found at all first."""
    missed: list[Miss] = []
    for query, ranking, relevant in zip(queries, rankings, judged, strict=True):
        rank = next((n for n, uri in enumerate(ranking, start=1) if uri in relevant), None)
        if rank != 1:
            miss = Miss(sorted(relevant), ranking[:N_FOUND], rank)
            if query.turn_id:
                missed.append(replace(miss, turn_id=query.turn_id))
            else:
                missed.append(replace(miss, question=query.question, previous=query.previous))
    missed.sort(key=lambda miss: -(miss.rank or 10**9))
    return missed[:MAX_MISSES]


def run_job(
    db: Database, settings: Settings, request: Mapping[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    """
    Carry out an evaluation that a page asked for and return its figures, ready for JSON.

    `request` holds `queries`: "turns", or a file below the company's folder or the home; and
    optionally `against`, figures of the search other than those in use.

    Raises:
        InvalidInput: The request or its file can't be used, or no turn has been judged yet.
    """
    named = request.get("queries")
    with db.connect() as conn:
        options = current_options(conn, settings)
        if named == "turns":
            queries = queries_from_turns(conn)
        else:
            queries = read_queries(_allowed_file(settings, named))
    against = options.changed(request["against"]) if request.get("against") else None
    embedder, scope = get_embedder(settings), Scope.of(settings)
    found = evaluate(
        db, embedder, queries, options, scope, against=against, on_progress=on_progress
    )
    return {"queries": named, **found.to_json()}


def _allowed_file(settings: Settings, named: object) -> Path:
    """Return the file's path if a page may name it: nothing else of the machine is readable."""
    path = Path(str(named)).resolve()
    folders = (settings.company.resolve(), settings.home.resolve())
    if not any(path.is_relative_to(folder) for folder in folders):
        raise InvalidInput(f"{path} is not in the company's folder or the home; move it there")
    return path
