"""SQL of documents and chunks: replace, read, delete."""

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
from psycopg.rows import class_row

from core.errors import NotFound
from core.types import EVERYONE, HELP
from retrieval.chunk import Chunk
from retrieval.load import LoadedDocument


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document to store, with the hash of its content and its chunks."""

    document: LoadedDocument
    sha256: str
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A stored document; `body` is the whole Markdown."""

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
    collection: str = HELP,
    audience: str = EVERYONE,
) -> UUID:
    """
    Store a document in place of the one with the same uri, which keeps its id; return the id.

    `embeddings` has one unit row per chunk. The caller owns the transaction: other readers
    see the old chunks until it commits.
    """
    cut = CutDocument(document, sha256, chunks)
    return replace_documents(conn, [cut], embeddings, collection=collection, audience=audience)[0]


def replace_documents(
    conn: Connection[Any],
    documents: Sequence[CutDocument],
    embeddings: NDArray[np.float32],
    *,
    collection: str,
    audience: str,
) -> list[UUID]:
    """
    Store documents of different uris like `replace_document`; the rows are those of all chunks.

    One statement per table for all of them: a statement for each document costs three times
    as much as the index does.
    """
    sql = """
        INSERT INTO documents
            (collection, audience, uri, title, media_type, body, content_sha256)
        SELECT %(collection)s, %(audience)s, uri, title, media_type, body, sha256
        FROM unnest(%(uris)s::text[], %(titles)s::text[], %(media_types)s::text[],
                    %(bodies)s::text[], %(sha256s)s::text[])
             AS incoming (uri, title, media_type, body, sha256)
        ON CONFLICT (collection, uri) DO UPDATE SET
            audience = excluded.audience, title = excluded.title,
            media_type = excluded.media_type, body = excluded.body,
            content_sha256 = excluded.content_sha256, updated_at = now()
        RETURNING uri, id
    """
    params = {
        "collection": collection,
        "audience": audience,
        "uris": [each.document.uri for each in documents],
        "titles": [each.document.title for each in documents],
        "media_types": [each.document.media_type for each in documents],
        "bodies": [each.document.body_markdown for each in documents],
        "sha256s": [each.sha256 for each in documents],
    }
    ids: dict[str, UUID] = dict(conn.execute(sql, params).fetchall())
    conn.execute("DELETE FROM chunks WHERE document_id = ANY(%s)", (list(ids.values()),))
    _copy_chunks(conn, documents, ids, embeddings)
    return [ids[each.document.uri] for each in documents]


def _copy_chunks(
    conn: Connection[Any],
    documents: Sequence[CutDocument],
    ids: dict[str, UUID],
    embeddings: NDArray[np.float32],
) -> None:
    """COPY into a session's scratch table, from where the server makes the lexemes."""
    conn.execute("""
        CREATE TEMP TABLE IF NOT EXISTS incoming_chunks (
            document_id uuid, position integer, heading_path text[], body text,
            n_tokens integer, embedding halfvec(384), words text
        ) ON COMMIT DELETE ROWS
    """)
    conn.execute("TRUNCATE incoming_chunks")
    every = [(each.document, chunk) for each in documents for chunk in each.chunks]
    with (
        conn.cursor() as cur,
        cur.copy("COPY incoming_chunks FROM STDIN WITH (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["uuid", "int4", "text[]", "text", "int4", "halfvec", "text"])
        for (document, chunk), embedding in zip(every, embeddings, strict=True):
            words = fold(" ".join([document.title, *chunk.heading_path, chunk.body]))
            copy.write_row(
                (
                    *(ids[document.uri], chunk.position, list(chunk.heading_path), chunk.body),
                    *(chunk.n_tokens, HalfVector(embedding), words),
                )
            )
    conn.execute("""
        INSERT INTO chunks (document_id, position, heading_path, body, n_tokens, embedding, lexemes)
        SELECT document_id, position, heading_path, body, n_tokens, embedding,
               to_tsvector('english', words)
        FROM incoming_chunks
    """)


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
