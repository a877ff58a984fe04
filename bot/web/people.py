"""Who sends a request: a visitor by the signed cookie, an admin by an open session of the desk."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID, uuid4

import gradio as gr
from starlette.requests import HTTPConnection

from core.db import Database
from core.errors import NotAllowed
from core.people import Person, Role
from core.sessions import DeskSession, find_session
from core.settings import Settings

VISITOR_COOKIE_S = 365 * 24 * 3600
ADMIN_SESSION_S = 12 * 3600
ADMIN = "admin"  # the one person of the desk, until people have accounts
DESK_KEY = "desk"  # in the signed cookie: the id of the desk's session
PERSON_KEY, SESSION_KEY = "ratchet.person", "ratchet.desk_session"  # in a request's scope

Cookie = MutableMapping[str, Any]


def ensure_visitor(cookie: Cookie) -> None:
    """Give a cookie without a visitor's id a new random one."""
    if "visitor" not in cookie:
        cookie["visitor"] = str(uuid4())


def identify(
    request: HTTPConnection, session: DeskSession | None, audiences: tuple[str, ...]
) -> None:
    """Note in a request's scope who sends it; `session` is their open sign-in, if any."""
    request.scope[SESSION_KEY] = session
    request.scope[PERSON_KEY] = Person(
        id=UUID(request.session["visitor"]),
        name=session.person if session else "visitor",
        roles=frozenset({Role.ADMIN if session else Role.VISITOR}),
        audiences=audiences,
    )


def person_of(request: gr.Request | HTTPConnection) -> Person:
    """
    Return who sends a request, as the guard found out.

    Raises:
        NotAllowed: The browser sent no cookie.
    """
    person: Person | None = _scope(request).get(PERSON_KEY)
    if person is None:
        raise NotAllowed("your browser sent no cookie; allow cookies and reload the page")
    return person


def address_of(request: gr.Request | HTTPConnection) -> str:
    """Return the network address that asks; "" where it is not known."""
    client = _scope(request).get("client")
    return str(client[0]) if client else ""


def desk_session(request: HTTPConnection) -> DeskSession | None:
    """Return the open sign-in that the guard found, if any."""
    found: DeskSession | None = request.scope.get(SESSION_KEY)
    return found


def password_mark(settings: Settings) -> str:
    """Return what a session remembers of its password: another password ends the session."""
    secret, password = settings.secret("session-secret"), settings.secret("admin-password")
    return hmac.digest(secret.encode(), password.encode(), "sha256").hex()


def look_up_session(database: Database, cookie: Cookie, mark: str) -> DeskSession | None:
    """
    Return the open session that a cookie names; it blocks for one query.

    Raises:
        DatabaseUnavailable: Postgres can't be reached.
    """
    try:
        session_id = UUID(str(cookie[DESK_KEY]))
    except (KeyError, ValueError):
        return None
    with database.connect() as conn:
        return find_session(conn, session_id, mark)


def _scope(request: gr.Request | HTTPConnection) -> MutableMapping[str, Any]:
    # Gradio wraps the real request and turns its attributes into copies.
    inner = request.request if isinstance(request, gr.Request) else request
    return inner.scope if inner is not None else {}
