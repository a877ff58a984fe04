"""Sign-in and sign-out of the desk: a plain form, one password, a row for each session."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from bot.services import Services
from bot.templates import render
from bot.web.people import (
    ADMIN,
    ADMIN_SESSION_S,
    DESK_KEY,
    address_of,
    desk_session,
    password_mark,
)
from bot.web.policy import SIGN_IN
from core import audit
from core.audit import Action
from core.errors import Busy, NotAllowed, NotFound
from core.sessions import end_session, open_session

MAX_PASSWORD_CHARS = 200
DESK_PATH = "/desk/"  # the mount answers with the slash only


def login_routes(services: Services) -> APIRouter:
    """Return the routes that open and end an admin's session."""
    routes = APIRouter()

    @routes.get(SIGN_IN)
    def show_form(request: Request) -> Response:
        if desk_session(request):
            return RedirectResponse(DESK_PATH, status_code=303)
        return _form(services.company, "", 200)

    @routes.post(SIGN_IN)
    async def sign_in(
        request: Request, password: Annotated[str, Form(max_length=MAX_PASSWORD_CHARS)] = ""
    ) -> Response:
        address = address_of(request)
        try:
            await asyncio.to_thread(services.meter.count_sign_in, address)
            await services.password.check(password, address)
        except Busy as exc:
            return _form(services.company, str(exc), 429, {"Retry-After": str(exc.retry_after_s)})
        except NotAllowed as exc:
            await asyncio.to_thread(_note_refusal, services, address)
            return _form(services.company, str(exc), 403)
        opened = await asyncio.to_thread(_open, services, request)
        request.session[DESK_KEY] = str(opened)
        return RedirectResponse(DESK_PATH, status_code=303)

    @routes.get("/desk")
    def add_slash() -> Response:
        return RedirectResponse(DESK_PATH, status_code=303)

    @routes.post("/desk/logout")
    def sign_out(request: Request) -> Response:
        _end(services, request)
        return RedirectResponse(SIGN_IN, status_code=303)

    return routes


def _open(services: Services, request: Request) -> UUID:
    """Store the session, which a copy of the cookie can't outlive; the one before is ended."""
    address = address_of(request)
    with services.database.connect() as conn:
        if before := desk_session(request):
            end_session(conn, before.id)
        opened = open_session(
            conn,
            ADMIN,
            password_mark=password_mark(services.settings),
            lifetime_s=ADMIN_SESSION_S,
            address=address,
            user_agent=request.headers.get("user-agent", ""),
        )
        audit.record(conn, ADMIN, Action.SIGNED_IN, opened, address=address)
    return opened


def _note_refusal(services: Services, address: str) -> None:
    with services.database.connect() as conn:
        audit.record(conn, "somebody", Action.SIGN_IN_REFUSED, address)


def _end(services: Services, request: Request) -> None:
    session = desk_session(request)
    request.session.pop(DESK_KEY, None)
    if session is None:
        return
    with services.database.connect() as conn:
        try:
            end_session(conn, session.id)
        except NotFound:
            return  # ended by another window
        audit.record(conn, session.person, Action.SIGNED_OUT, session.id)


def _form(
    company: str, problem: str, status_code: int, headers: dict[str, str] | None = None
) -> HTMLResponse:
    shown = render(
        "sign_in.html",
        title="Sign in",
        company=company,
        action=SIGN_IN,
        problem=problem,
        max_chars=MAX_PASSWORD_CHARS,
    )
    return HTMLResponse(shown, status_code=status_code, headers=headers)
