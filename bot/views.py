"""Plain pages behind a citation: the article with the passage marked, or what the model saw."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from psycopg import Connection

from bot.html import article, prose
from bot.services import Services
from bot.templates import render
from bot.web.people import person_of
from core.errors import NotFound, TurnNotFound
from core.people import Permission, Person
from core.turns import turn_owner, turn_passages
from core.types import Passage
from retrieval.store import StoredDocument, get_chunk_body, get_document

REMOVED = "This article has been removed since. The answer read:"
CHANGED = "This article has changed since. The answer read:"
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
        shown, _ = article(found.body, passage)
        return render("article.html", company=services.company, **_titled(found), article=shown)

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
        return _source(seen, whole, note, services.company)

    return routes


def _may_read(conn: Connection[Any], person: Person, document_id: UUID) -> bool:
    if person.may(Permission.READ_ALL):
        return True
    sql = "SELECT 1 FROM documents WHERE id = %s AND audience = ANY(%s)"
    return conn.execute(sql, (document_id, list(person.audiences))).fetchone() is not None


def _titled(document: StoredDocument) -> dict[str, object]:
    has_heading = document.body.lstrip().startswith("# ")
    return {"title": document.title, "shows_title": not has_heading}


def _source(seen: Passage, whole: StoredDocument | None, note: str, company: str) -> str:
    """Return the article with the passage marked; the bare passage when it is gone from there."""
    shown, is_found = article(whole.body, seen.body) if whole else (None, False)
    return render(
        "source.html",
        company=company,
        **(_titled(whole) if whole else {"title": seen.title}),
        rank=seen.rank,
        place=seen.place,
        note="" if is_found else CHANGED if whole else note,
        passage=prose(seen.body),
        article=shown,
    )
