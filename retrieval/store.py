"""SQL of documents and chunks: replace, list, delete, and the hybrid search in one statement."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import Connection
from psycopg.rows import class_row, dict_row

from core.errors import NotFound
from core.types import Passage
from retrieval.chunk import Chunk
from retrieval.load import LoadedDocument

N_CANDIDATES = 50  # per leg, before fusion
MAX_MATCHES = 2_000  # about as many chunks the lexical leg ranks; the rarest words choose them
# Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009): score = sum of weight / (k + rank).
RRF_K = 10
TEXT_WEIGHT = 0.5  # of the lexical leg; the dense leg has 1


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it lies in the database; `body` is the whole Markdown."""

    id: UUID
    collection: str
    uri: str
    title: str
    media_type: str
    body: str
    n_chunks: int
    updated_at: datetime


def fold(text: str) -> str:
    """Return `text` without accents (NFKD), so that "creme brulee" finds "crème brûlée"."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def document_hashes(conn: Connection[Any], collection: str) -> dict[str, str]:
    """Return {uri: content_sha256} of a collection's documents."""
    sql = "SELECT uri, content_sha256 FROM documents WHERE collection = %s"
    return dict(conn.execute(sql, (collection,)).fetchall())


def replace_document(
    conn: Connection[Any],
    document: LoadedDocument,
    sha256: str,
    chunks: Sequence[Chunk],
    embeddings: NDArray[np.float32],
    *,
    collection: str = "help",
) -> UUID:
    """
    Store a document in place of the one with the same uri, which keeps its id; return the id.

    `embeddings` has one unit row per chunk. The caller owns the transaction: other readers
    see the old chunks until it commits.
    """
    sql = """
        INSERT INTO documents (collection, uri, title, media_type, body, content_sha256)
        VALUES (%(collection)s, %(uri)s, %(title)s, %(media_type)s, %(body)s, %(sha256)s)
        ON CONFLICT (collection, uri) DO UPDATE SET
            title = excluded.title, media_type = excluded.media_type, body = excluded.body,
            content_sha256 = excluded.content_sha256, updated_at = now()
        RETURNING id
    """
    params = {
        "collection": collection,
        "uri": document.uri,
        "title": document.title,
        "media_type": document.media_type,
        "body": document.body_markdown,
        "sha256": sha256,
    }
    row = conn.execute(sql, params).fetchone()
    assert row is not None  # RETURNING on an upsert always yields one row
    document_id: UUID = row[0]
    conn.execute("DELETE FROM chunks WHERE document_id = %s", (document_id,))
    _copy_chunks(conn, document_id, document.title, chunks, embeddings)
    return document_id


def _copy_chunks(
    conn: Connection[Any],
    document_id: UUID,
    title: str,
    chunks: Sequence[Chunk],
    embeddings: NDArray[np.float32],
) -> None:
    """COPY into a session's scratch table, from where the server makes the lexemes."""
    conn.execute("""
        CREATE TEMP TABLE IF NOT EXISTS incoming_chunks (
            position integer, heading_path text[], body text, n_tokens integer,
            embedding halfvec(384), words text
        ) ON COMMIT DELETE ROWS
    """)
    conn.execute("TRUNCATE incoming_chunks")
    with (
        conn.cursor() as cur,
        cur.copy("COPY incoming_chunks FROM STDIN WITH (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["int4", "text[]", "text", "int4", "halfvec", "text"])
        for chunk, embedding in zip(chunks, embeddings, strict=True):
            words = fold(" ".join([title, *chunk.heading_path, chunk.body]))
            copy.write_row(
                (
                    *(chunk.position, list(chunk.heading_path), chunk.body, chunk.n_tokens),
                    *(HalfVector(embedding), words),
                )
            )
    sql = """
        INSERT INTO chunks (document_id, position, heading_path, body, n_tokens, embedding, lexemes)
        SELECT %s, position, heading_path, body, n_tokens, embedding,
               to_tsvector('english', words)
        FROM incoming_chunks
        ORDER BY position
    """
    conn.execute(sql, (document_id,))


def delete_document(conn: Connection[Any], collection: str, uri: str) -> bool:
    """Remove a document and its chunks; return whether it was there."""
    sql = "DELETE FROM documents WHERE collection = %s AND uri = %s"
    return conn.execute(sql, (collection, uri)).rowcount > 0


def get_document(conn: Connection[Any], document_id: UUID) -> StoredDocument:
    """Return one document with its whole text; raises NotFound."""
    sql = """
        SELECT d.id, d.collection, d.uri, d.title, d.media_type, d.body,
               (SELECT count(*) FROM chunks c WHERE c.document_id = d.id) AS n_chunks, d.updated_at
        FROM documents d
        WHERE d.id = %s
    """
    with conn.cursor(row_factory=class_row(StoredDocument)) as cur:
        found = cur.execute(sql, (document_id,)).fetchone()
    if found is None:
        raise NotFound(f"no document {document_id}; it may have been deleted since")
    return found


def get_chunk_body(conn: Connection[Any], document_id: UUID, chunk_id: int) -> str:
    """Return a chunk's text; empty when the document has been replaced since."""
    sql = "SELECT body FROM chunks WHERE id = %s AND document_id = %s"
    found = conn.execute(sql, (chunk_id, document_id)).fetchone()
    return found[0] if found else ""


def list_documents(conn: Connection[Any], collection: str = "help") -> list[StoredDocument]:
    """Return a collection's documents by title; their `body` is left empty."""
    sql = """
        SELECT d.id, d.collection, d.uri, d.title, d.media_type, '' AS body,
               count(c.id) AS n_chunks, d.updated_at
        FROM documents d LEFT JOIN chunks c ON c.document_id = d.id
        WHERE d.collection = %s
        GROUP BY d.id
        ORDER BY d.title, d.uri
    """
    with conn.cursor(row_factory=class_row(StoredDocument)) as cur:
        return cur.execute(sql, (collection,)).fetchall()


def hybrid_search(
    conn: Connection[Any],
    embedding: NDArray[np.float32],
    text: str,
    *,
    collection: str,
    limit: int,
    n_candidates: int | None = None,
) -> list[Passage]:
    """
    Return the `limit` best chunks, best first, by reciprocal rank fusion of two legs.

    One leg is the cosine to `embedding` (unit, 384), the other BM25 over the words of `text`,
    of which any may match; each gives its `n_candidates` best, by default 50 or `limit` if
    that is more. `rank` counts from 1.
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
                WHERE d.collection = %(collection)s
                ORDER BY c.embedding <=> (SELECT embedding FROM query)
                LIMIT %(n_candidates)s
            ) nearest
        ),
        lexical AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY negative_bm25, id) AS rank
            FROM (
                SELECT c.id, c.terms <#> (SELECT terms FROM query) AS negative_bm25
                FROM chunks c JOIN documents d ON d.id = c.document_id
                WHERE c.lexemes @@ (SELECT any_word FROM query) AND d.collection = %(collection)s
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
               f.dense_rank, f.text_rank
        FROM fused f JOIN chunks c USING (id) JOIN documents d ON d.id = c.document_id
        ORDER BY f.score DESC, f.dense_rank, c.id
        LIMIT %(limit)s
    """
    params = {
        "embedding": HalfVector(embedding),
        "text": fold(text),
        "collection": collection,
        "n_candidates": n_candidates or max(N_CANDIDATES, limit),
        "max_matches": MAX_MATCHES,
        "rrf_k": RRF_K,
        "text_weight": TEXT_WEIGHT,
        "limit": limit,
    }
    with conn.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(sql, params).fetchall()
    return [
        Passage(rank=rank, heading=" > ".join(row.pop("heading_path")), **row)
        for rank, row in enumerate(rows, start=1)
    ]
