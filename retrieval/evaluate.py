"""Questions with their right articles → recall, nDCG and MRR of each leg and of both fused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.db import Database
from core.errors import InvalidInput
from core.types import Message, Passage
from retrieval.embed import Embedder
from retrieval.metrics import METRICS, bootstrap_mean, recall_at
from retrieval.search import standalone_query
from retrieval.store import N_CANDIDATES, document_hashes, hybrid_search

LEGS = ("dense", "text", "fused")
CURVE_K = range(1, 11)


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A question, what was asked before it if anything, and the names of its right articles."""

    question: str
    relevant: frozenset[str]
    previous: str = ""


def read_queries(path: Path) -> list[JudgedQuery]:
    """
    Read JSON lines with `question`, `article` (or a list `relevant`) and optionally `first`.

    An article is named by its uri or the end of it, like `returns.md`.

    Raises:
        InvalidInput: The file is unreadable or a line is not of this form; its number is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"{path} can't be read; give a UTF-8 file of JSON lines") from exc
    queries = [_read_query(line, n) for n, line in enumerate(lines, start=1) if line.strip()]
    if not queries:
        raise InvalidInput(f"{path} holds no questions")
    return queries


def _read_query(line: str, number: int) -> JudgedQuery:
    try:
        row = json.loads(line)
        relevant = row["relevant"] if "relevant" in row else [row["article"]]
        query = JudgedQuery(row["question"], frozenset(relevant), row.get("first", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise InvalidInput(f"line {number} needs a `question` and an `article`") from exc
    texts = (query.question, query.previous, *query.relevant)
    if not query.relevant or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"line {number} needs texts as `question` and `article`")
    return query


def evaluate_file(
    db: Database,
    embedder: Embedder,
    path: Path,
    *,
    collection: str = "help",
    picture: Path | None = None,
) -> dict[str, Any]:
    """
    Search every question of a file and return the figures, ready for JSON.

    `legs` maps dense, text and fused to each metric's value with its 95 % bootstrap interval
    and to `recall_curve`, recall@1 to @10; `unknown` names articles that are not ingested.
    With `picture` the curves are drawn there.

    Raises:
        InvalidInput: The file can't be used.
        DatabaseUnavailable: Postgres can't be reached.
    """
    queries = read_queries(path)
    with db.connect() as conn:
        uris = list(document_hashes(conn, collection))
    named = {name: _uri_of(name, uris) for query in queries for name in query.relevant}
    rankings: dict[str, list[list[str]]] = {leg: [] for leg in LEGS}
    for query in queries:
        passages = _candidates(db, embedder, query, collection)
        for leg in LEGS:
            rankings[leg].append(_documents(passages, leg))
    judged = [{named[name] or name for name in query.relevant} for query in queries]
    result: dict[str, Any] = {
        "queries": str(path),
        "n_queries": len(queries),
        "unknown": sorted(name for name, uri in named.items() if uri is None),
        "legs": {leg: _figures(rankings[leg], judged) for leg in LEGS},
        "picture": str(picture) if picture else None,
    }
    if picture:
        draw_recall(result, picture)
    return result


def _uri_of(name: str, uris: Iterable[str]) -> str | None:
    return next((uri for uri in uris if uri == name or uri.endswith(f"/{name}")), None)


def _candidates(
    db: Database, embedder: Embedder, query: JudgedQuery, collection: str
) -> list[Passage]:
    """Return all candidates of both legs, as the product's search would fuse them."""
    history: list[Message] = [{"role": "user", "content": query.previous}] if query.previous else []
    text = standalone_query(query.question, history)
    embedding = embedder.query(text)
    with db.connect() as conn:
        return hybrid_search(
            conn,
            embedding,
            text,
            collection=collection,
            limit=2 * N_CANDIDATES,
            n_candidates=N_CANDIDATES,
        )


def _documents(passages: Iterable[Passage], leg: str) -> list[str]:
    """Return the documents in the order in which the leg first met them."""
    ranks = {
        "dense": lambda passage: passage.dense_rank,
        "text": lambda passage: passage.text_rank,
        "fused": lambda passage: passage.rank,
    }
    met = [(ranks[leg](passage), passage.uri) for passage in passages]
    return list(dict.fromkeys(uri for rank, uri in sorted(m for m in met if m[0] is not None)))


def _figures(rankings: list[list[str]], judged: list[set[str]]) -> dict[str, Any]:
    pairs = list(zip(rankings, judged, strict=True))
    figures: dict[str, Any] = {
        name: asdict(bootstrap_mean([metric(ranking, relevant) for ranking, relevant in pairs]))
        for name, metric in METRICS.items()
    }
    figures["recall_curve"] = [
        sum(recall_at(ranking, relevant, k) for ranking, relevant in pairs) / len(pairs)
        for k in CURVE_K
    ]
    return figures


def draw_recall(result: dict[str, Any], path: Path) -> None:
    """Draw recall over the number of documents looked at, one line per leg, into `path`."""
    from matplotlib.figure import Figure

    names = {"dense": "by meaning", "text": "by words", "fused": "both fused"}
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for leg in LEGS:
        axes.plot(CURVE_K, result["legs"][leg]["recall_curve"], marker="o", label=names[leg])
    axes.set_xlabel("articles looked at")
    axes.set_ylabel("right article among them")
    axes.set_title(f"{result['n_queries']} questions")
    axes.set_xticks(list(CURVE_K))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
