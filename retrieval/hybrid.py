"""The hybrid search: nearest by meaning and best by words, fused, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import Connection
from psycopg.rows import dict_row

from core.types import Passage
from retrieval.options import Scope, SearchOptions
from retrieval.store import fold

MAX_MATCHES = 2_000  # about as many chunks the lexical leg ranks; the rarest words choose them


def hybrid_search(
    conn: Connection[Any],
    embedding: NDArray[np.float32],
    text: str,
    options: SearchOptions,
    scope: Scope,
    *,
    limit: int | None = None,
) -> list[Passage]:
    """
    Find chunks by two legs and return the `limit` best of their fusion, best first.

    One leg is the cosine to `embedding` (unit, 384), the other BM25 over the words of `text`,
    of which any may match; each gives its `options.n_candidates` best, or `limit` if that is
    more, so that where `limit` chunks lie in the scope that many come. Without a limit all
    candidates of both are returned. `rank` counts from 1.
    """
    sql = """
        WITH words AS (
            SELECT w.lexeme, c.n_chunks,
                   ln(1 + (total.n_chunks - c.n_chunks + 0.5) / (c.n_chunks + 0.5)) AS rarity,
                   sum(c.n_chunks) OVER (ORDER BY c.n_chunks, w.lexeme) - c.n_chunks AS n_before
            FROM unnest(to_tsvector('english', %(text)s)) w
            JOIN lexeme_counts c USING (lexeme)
            CROSS JOIN (SELECT n_chunks FROM lexeme_counts WHERE lexeme = '') total
            WHERE c.n_chunks > 0
        ),
        query AS MATERIALIZED (
            SELECT %(embedding)s::halfvec(384) AS embedding,
                   -- the rarest words find; all of them rank
                   any_word(ARRAY(SELECT lexeme FROM words WHERE n_before < %(max_matches)s))
                       AS any_word,
                   (SELECT ('{' || string_agg(place || ':' || rarity::real, ',' ORDER BY place)
                            || '}/268435456')::sparsevec
                    FROM (SELECT term_place(lexeme) AS place, sum(rarity) AS rarity
                          FROM words GROUP BY 1) places) AS terms
        ),
        dense AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY distance, id) AS rank
            FROM (
                SELECT c.id, c.embedding <=> (SELECT embedding FROM query) AS distance
                FROM chunks c JOIN documents d ON d.id = c.document_id
                WHERE d.collection = ANY(%(collections)s) AND d.audience = ANY(%(audiences)s)
                ORDER BY c.embedding <=> (SELECT embedding FROM query)
                LIMIT %(n_candidates)s
            ) nearest
        ),
        lexical AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY negative_bm25, id) AS rank
            FROM (
                SELECT c.id, c.terms <#> (SELECT terms FROM query) AS negative_bm25
                FROM chunks c JOIN documents d ON d.id = c.document_id
                WHERE c.lexemes @@ (SELECT any_word FROM query)
                  AND d.collection = ANY(%(collections)s) AND d.audience = ANY(%(audiences)s)
                ORDER BY negative_bm25, c.id
                LIMIT %(n_candidates)s
            ) matching
        ),
        fused AS (
            SELECT id, dense.rank AS dense_rank, lexical.rank AS text_rank,
                   coalesce(1.0 / (%(rrf_k)s + dense.rank), 0)
                       + coalesce(%(text_weight)s / (%(rrf_k)s + lexical.rank), 0) AS score
            FROM dense FULL JOIN lexical USING (id)
        )
        SELECT c.id AS chunk_id, c.document_id, d.uri, d.title, c.heading_path, c.body,
               f.score::float8 AS score,
               1 - (c.embedding <=> (SELECT embedding FROM query)) AS similarity,
               f.dense_rank, f.text_rank, c.position
        FROM fused f JOIN chunks c USING (id) JOIN documents d ON d.id = c.document_id
        ORDER BY f.score DESC, f.dense_rank, c.id
        LIMIT %(limit)s
    """
    params = {
        "embedding": HalfVector(embedding),
        "text": fold(text),
        "collections": list(scope.collections),
        "audiences": list(scope.audiences),
        "n_candidates": max(options.n_candidates, limit or 0),
        "max_matches": MAX_MATCHES,
        "rrf_k": options.rrf_k,
        "text_weight": options.text_weight,
        "limit": limit,
    }
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql, params).fetchall()
    return [
        Passage(rank=rank, heading=" > ".join(row.pop("heading_path")), **row)
        for rank, row in enumerate(rows, start=1)
    ]


def word_rarities(conn: Connection[Any], words: Sequence[str]) -> dict[str, float]:
    """
    Return how much each word tells: ln(1 + chunks / (1 + chunks that hold it)).

    A stop word stands for all chunks, an unknown word for none.
    """
    sql = """
        SELECT w.word,
               ln(1 + total.n_chunks / (1 + coalesce(held.n_chunks, total.n_chunks))::float8)
        FROM unnest(%(words)s::text[], %(folded)s::text[]) w (word, folded)
        CROSS JOIN (SELECT n_chunks FROM lexeme_counts WHERE lexeme = '') total
        CROSS JOIN LATERAL (
            SELECT min(coalesce(c.n_chunks, 0)) AS n_chunks
            FROM unnest(to_tsvector('english', w.folded)) l LEFT JOIN lexeme_counts c USING (lexeme)
        ) held
    """
    unique = list(dict.fromkeys(words))
    params = {"words": unique, "folded": [fold(word) for word in unique]}
    return dict(conn.execute(sql, params).fetchall())
