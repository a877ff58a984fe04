"""The kinds of jobs there are: what carries each out, on which queue, and how many at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from core.settings import Settings
from core.types import EVERYONE, HELP
from core.work import HeldJob, Kind
from training import deploy, pipeline, promotion

JOBS, TRAIN = "jobs", "train"  # queues; see workers.app


def kinds(settings: Settings) -> dict[str, Kind]:
    """
    Return the kinds by name.

    On the queue `jobs` fewer may be at work in all than its worker has processes, so that one
    is always free for the ticks: two long crawls and an evaluation delay nothing else.
    """
    n = settings.max_attempts
    every = (
        Kind("ingest", ingest_articles, JOBS, at_once=2, max_attempts=n),
        Kind("evaluate", evaluate_search, JOBS, at_once=1, max_attempts=n),
        Kind(promotion.DEPLOY, deploy.carry_out, JOBS, at_once=1, max_attempts=n),
        Kind(pipeline.RETRAIN, pipeline.retrain, TRAIN, at_once=1, max_attempts=n),
    )
    return {kind.name: kind for kind in every}


def ingest_articles(held: HeldJob, settings: Settings) -> dict[str, Any]:
    """Bring in what a page asked for: {"sources": [path or URL, …], "collection", "audience"}."""
    # Imported here, also below: beat, which carries nothing out, has no memory for the loaders.
    from retrieval.embed import get_embedder
    from retrieval.ingest import check_sources, ingest

    request = held.job.request
    check_sources(settings, request["sources"])
    report = ingest(
        held.db,
        get_embedder(settings),
        request["sources"],
        collection=request.get("collection", HELP),
        audience=request.get("audience", EVERYONE),
        public_only=True,
        chunk_tokens=settings.chunk_tokens,
        on_progress=lambda now: held.count(now.n_done, now.n_files, now.path),
        check=held.check,
    )
    return asdict(report)


def evaluate_search(held: HeldJob, settings: Settings) -> dict[str, Any]:
    """Judge the search as a page asked for it: {"queries": …, "against": …}."""
    from retrieval.evaluate import run_job

    return run_job(held.db, settings, held.job.request, held.count)
