"""Plain pages behind a citation: the article with the passage marked, or what the model saw."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from psycopg import Connection

from bot.html import article, page, prose
from bot.services import Services
from bot.web.people import person_of
from core.conversations import turn_owner, turn_passages
from core.errors import NotFound, TurnNotFound
from core.people import Permission, Person
from core.types import Passage
from retrieval.store import StoredDocument, get_chunk_body, get_document

REMOVED = "This article has been removed since. The answer read:"
CLOSED = "This article is no longer open to you. The answer read:"


def view_routes(services: Services) -> APIRouter:
    """Return the routes of the pages that citations and admins link to."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/documents/{document_id}")
    def document(
        document_id: UUID,
        request: Request,
        chunk: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    ) -> str:
        """Show an article to whom it is for and to admins, with one of its chunks marked."""
        with services.database.connect() as conn:
            found = get_document(conn, document_id)
            if not _may_read(conn, person_of(request), document_id):
                raise NotFound(f"no document {document_id} for you")
            passage = "" if chunk is None else get_chunk_body(conn, document_id, chunk)
        body, _ = _whole(found, passage)
        return page(found.title, body, company=services.company)

    @routes.get("/turns/{turn_id}/passages/{rank}")
    def passage(turn_id: UUID, rank: int, request: Request) -> str:
        """Show what the model saw, in its article as that is today, to whom it is for."""
        with services.database.connect() as conn:
            person = person_of(request)
            if not person.may(Permission.READ_ALL) and turn_owner(conn, turn_id) != person.id:
                raise TurnNotFound(f"no turn {turn_id}")
            seen = next((p for p in turn_passages(conn, turn_id) if p.rank == rank), None)
            if seen is None:
                raise NotFound(f"the answer has no source {rank}")
            whole, note = None, REMOVED
            if seen.document_id:
                # An article may have been brought in again since, for others than it was then.
                if _may_read(conn, person, seen.document_id):
                    whole = get_document(conn, seen.document_id)
                else:
                    note = CLOSED
        return page(seen.title, _source(seen, whole, note), company=services.company)

    return routes


def _may_read(conn: Connection[Any], person: Person, document_id: UUID) -> bool:
    if person.may(Permission.READ_ALL):
        return True
    sql = "SELECT 1 FROM documents WHERE id = %s AND audience = ANY(%s)"
    return conn.execute(sql, (document_id, list(person.audiences))).fetchone() is not None


def _whole(document: StoredDocument, passage: str) -> tuple[str, bool]:
    body, found = article(document.body, passage)
    title = "" if document.body.lstrip().startswith("# ") else f"<h1>{escape(document.title)}</h1>"
    return f"<article>{title}{body}</article>", found


def _source(seen: Passage, whole: StoredDocument | None, note: str) -> str:
    """Return the article with the passage marked; the bare passage when it is gone from there."""
    place = f'<p class="source-place">Source {seen.rank} · {escape(seen.place)}</p>'
    if whole is None:
        return place + _alone(seen, note)
    body, found = _whole(whole, seen.body)
    if found:
        return place + body
    changed = _alone(seen, "This article has changed since. The answer read:")
    return f'{place}{changed}<p class="note">The article today:</p>{body}'


def _alone(seen: Passage, note: str) -> str:
    return (
        f'<p class="note">{escape(note)}</p>'
        f'<blockquote class="passage" id="passage">{prose(seen.body)}</blockquote>'
    )
