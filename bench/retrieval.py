"""How good and how quick the search is, beside its own legs and LangChain's default query."""

from __future__ import annotations

from bench import kills, retrieval_ingest, retrieval_quality, retrieval_scale
from bench.corpus import DATA, scratch_database
from bench.report import Row
from core.settings import Settings
from retrieval.embed import get_embedder


def run(settings: Settings) -> list[Row]:
    """
    Measure in scratch databases on the stack's Postgres; half an hour, both cores busy.

    Without the public data in var/data only what needs none of it is measured.
    """
    embedder = get_embedder(settings)
    rows: list[Row] = []
    with scratch_database(settings.dsn) as database:
        rows += retrieval_quality.company_rows(database, embedder, settings)
    with scratch_database(settings.dsn) as database:
        rows += retrieval_ingest.ingest_rows(database, embedder, settings)
        rows += retrieval_ingest.embedding_rows(database, embedder)
    rows += retrieval_quality.public_rows(settings, DATA, embedder)
    rows += retrieval_scale.rows(settings, DATA, embedder)
    return [*rows, *kills.kill_rows(settings)]
