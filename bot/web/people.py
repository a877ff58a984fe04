"""Who is asking: a visitor by the signed cookie, an admin by an open session of the desk."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID, uuid4

import gradio as gr
from starlette.requests import HTTPConnection

from core.db import Database
from core.errors import NotAllowed
from core.sessions import DeskSession, find_session
from core.settings import Settings

VISITOR_COOKIE_S = 365 * 24 * 3600
ADMIN_SESSION_S = 12 * 3600
ADMIN = "admin"  # the one person of the desk, until people have accounts
DESK_KEY = "desk"  # in the signed cookie: the id of the desk's session

Cookie = MutableMapping[str, Any]


def ensure_visitor(cookie: Cookie) -> None:
    """Give a cookie without a visitor's id a new random one."""
    if "visitor" not in cookie:
        cookie["visitor"] = str(uuid4())


def visitor_id(request: gr.Request | HTTPConnection) -> UUID:
    """
    Return the asker's id from the signed cookie.

    Raises:
        NotAllowed: The browser sent none.
    """
    try:
        return UUID(str(_scope(request)["session"]["visitor"]))
    except (KeyError, ValueError) as exc:
        raise NotAllowed("your browser sent no cookie; allow cookies and reload the page") from exc


def address_of(request: gr.Request | HTTPConnection) -> str:
    """Return the network address that asks; "" where it is not known."""
    client = _scope(request).get("client")
    return str(client[0]) if client else ""


def is_admin(request: gr.Request | HTTPConnection) -> bool:
    """Whether the guard found an open session of the desk behind this very request."""
    return _scope(request).get("ratchet.desk_session") is not None


def require_admin(request: gr.Request | HTTPConnection) -> UUID:
    """
    Return the admin's visitor id.

    Raises:
        NotAllowed: Nobody is signed in in this browser, it was too long ago, or it was ended.
    """
    if not is_admin(request):
        raise NotAllowed("please sign in again at /desk/login")
    return visitor_id(request)


def desk_session(request: HTTPConnection) -> DeskSession | None:
    """Return the open session that the guard found, if any."""
    found: DeskSession | None = request.scope.get("ratchet.desk_session")
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
