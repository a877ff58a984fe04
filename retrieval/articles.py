"""SQL of articles as pages show them: found by words, a page at a time, one with its chunks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from core.errors import NotFound

PAGE_SIZE = 25
MAX_CHUNKS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Article:
    """A document without its text."""

    id: UUID
    title: str
    uri: str
    collection: str
    audience: str
    n_chunks: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk as the search has it."""

    position: int
    heading_path: list[str]
    body: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class ArticlePage:
    """Some articles of all that match, by title; `page` counts from 0."""

    articles: list[Article]
    page: int
    n_found: int
    n_all: int

    @property
    def n_pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.n_found // PAGE_SIZE))


def find_articles(conn: Connection[Any], words: str, page: int) -> ArticlePage:
    """
    Return one page of the articles whose title, source, collection or audience holds each word.

    A page beyond the last is the last.
    """
    params: dict[str, Any] = {"patterns": [_pattern(word) for word in words.split()]}
    counts = """
        SELECT count(*) FILTER (WHERE concat_ws(' ', title, uri, collection, audience)
                                      ILIKE ALL (%(patterns)s::text[])), count(*)
        FROM documents
    """
    n_found, n_all = conn.execute(counts, params).fetchone() or (0, 0)
    page = max(0, min(page, (n_found - 1) // PAGE_SIZE))
    sql = """
        SELECT d.id, d.title, d.uri, d.collection, d.audience, d.updated_at,
               (SELECT count(*) FROM chunks c WHERE c.document_id = d.id) AS n_chunks
        FROM (SELECT * FROM documents
              WHERE concat_ws(' ', title, uri, collection, audience)
                    ILIKE ALL (%(patterns)s::text[])
              ORDER BY title, uri, id
              LIMIT %(size)s OFFSET %(skipped)s) d
        ORDER BY d.title, d.uri, d.id
    """
    params |= {"size": PAGE_SIZE, "skipped": page * PAGE_SIZE}
    with conn.cursor(row_factory=class_row(Article)) as cur:
        return ArticlePage(cur.execute(sql, params).fetchall(), page, n_found, n_all)


def _pattern(word: str) -> str:
    for special in ("\\", "%", "_"):
        word = word.replace(special, f"\\{special}")
    return f"%{word}%"


def get_article(conn: Connection[Any], article_id: UUID) -> Article:
    """Return one article; raises NotFound."""
    sql = """
        SELECT d.id, d.title, d.uri, d.collection, d.audience, d.updated_at,
               (SELECT count(*) FROM chunks c WHERE c.document_id = d.id) AS n_chunks
        FROM documents d WHERE d.id = %s
    """
    with conn.cursor(row_factory=class_row(Article)) as cur:
        found = cur.execute(sql, (article_id,)).fetchone()
    if found is None:
        raise NotFound("this article is gone; it was removed or replaced meanwhile")
    return found


def article_chunks(conn: Connection[Any], article_id: UUID) -> list[IndexedChunk]:
    """Return the first 200 chunks of an article in their order."""
    sql = """
        SELECT position, heading_path, body, n_tokens FROM chunks
        WHERE document_id = %s ORDER BY position LIMIT %s
    """
    with conn.cursor(row_factory=class_row(IndexedChunk)) as cur:
        return cur.execute(sql, (article_id, MAX_CHUNKS_SHOWN)).fetchall()


def articles_by_uri(conn: Connection[Any], uris: Collection[str]) -> dict[str, tuple[UUID, str]]:
    """Return {uri: (id, title)} of those that are there, in the chat's collection."""
    sql = "SELECT uri, id, title FROM documents WHERE collection = 'help' AND uri = ANY(%s)"
    rows = conn.execute(sql, (list(uris),)).fetchall()
    return {uri: (article_id, title) for uri, article_id, title in rows}
