"""Who is asking: every visitor has a signed id, admins have shown the password."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, MutableMapping
from time import monotonic, time
from typing import Any
from uuid import UUID, uuid4

import gradio as gr
from starlette.requests import HTTPConnection

from core.errors import NotAllowed
from core.settings import Settings

ADMIN_SESSION_S = 12 * 3600
VISITOR_COOKIE_S = 365 * 24 * 3600
MAX_FAILURES = 5  # of one address within the window
FAILURE_WINDOW_S = 15 * 60
MAX_ADDRESSES = 10_000  # remembered at once; the oldest are forgotten first

Session = MutableMapping[str, Any]


def ensure_visitor(session: Session) -> None:
    """Give a session without a visitor's id a new random one."""
    if "visitor" not in session:
        session["visitor"] = str(uuid4())


def visitor_id(request: gr.Request | HTTPConnection) -> UUID:
    """
    Return the asker's id from the signed cookie.

    Raises:
        NotAllowed: The browser sent none.
    """
    try:
        return UUID(str(_session(request)["visitor"]))
    except (KeyError, ValueError) as exc:
        raise NotAllowed("your browser sent no cookie; allow cookies and reload the page") from exc


def require_admin(request: gr.Request | HTTPConnection) -> UUID:
    """
    Return the admin's id.

    Raises:
        NotAllowed: Nobody is signed in in this browser, or it was too long ago.
    """
    if not is_admin(_session(request)):
        raise NotAllowed("please sign in again at /desk/login")
    return visitor_id(request)


def is_admin(session: Session) -> bool:
    """Return whether somebody signed in with this session, at most twelve hours ago."""
    age_s = time() - float(session.get("admin_since", 0))
    return "admin" in session and 0 <= age_s < ADMIN_SESSION_S


class AdminDoor:
    """Checks the admin's password, five wrong ones from an address in 15 minutes at most."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._salt = secrets.token_bytes(16)
        password = settings.secret("admin-password")
        self._hash = self._hashed(password)
        # What a signed-in session holds: another password ends the sessions of the old one.
        self._mark = hmac.digest(
            settings.secret("session-secret").encode(), password.encode(), "sha256"
        ).hex()
        self._clock = clock
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)

    def _hashed(self, password: str) -> bytes:
        return hashlib.scrypt(password.encode(), salt=self._salt, n=2**14, r=8, p=1)

    def sign_in(self, session: Session, password: str, address: str) -> None:
        """
        Mark the session as the admin's; takes about 50 ms.

        Raises:
            NotAllowed: The password is wrong, or too many were.
        """
        self._forget_old(address)
        if len(self._failures[address]) >= MAX_FAILURES:
            raise NotAllowed("too many wrong passwords; try again in 15 minutes")
        # Counted before the slow check, so that many tries at once don't slip through.
        self._failures[address].append(self._clock())
        given = self._hashed(password.encode("utf-8", "replace").decode())
        if not hmac.compare_digest(given, self._hash):
            raise NotAllowed("that is not the password")
        del self._failures[address]
        session["admin"] = self._mark
        session["admin_since"] = time()

    def end_outdated(self, session: Session) -> None:
        """Sign a session out that was opened with another password than today's."""
        if "admin" in session and not hmac.compare_digest(str(session["admin"]), self._mark):
            sign_out(session)

    def _forget_old(self, address: str) -> None:
        if len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        times = self._failures[address]
        while times and self._clock() - times[0] > FAILURE_WINDOW_S:
            times.popleft()


def sign_out(session: Session) -> None:
    """End the admin's session; the visitor's id stays."""
    session.pop("admin", None)
    session.pop("admin_since", None)


def _session(request: gr.Request | HTTPConnection) -> Session:
    # Gradio wraps the real request and turns its attributes into copies.
    inner = request.request if isinstance(request, gr.Request) else request
    found = inner.scope.get("session") if inner is not None else None
    return found if found is not None else {}
