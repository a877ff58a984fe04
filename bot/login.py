"""The desk's sign-in page: a plain form, same-site, one password."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from bot.accounts import is_admin, sign_out
from bot.guard import LOGIN_PATH
from bot.html import page
from bot.services import Services
from core.errors import NotAllowed

MAX_PASSWORD_CHARS = 200
DESK_PATH = "/desk/"  # the mount answers with the slash only


def login_routes(services: Services) -> APIRouter:
    """Return the routes that open and end an admin's session."""
    routes = APIRouter()

    @routes.get(LOGIN_PATH)
    def show_form(request: Request) -> Response:
        if is_admin(request.session):
            return RedirectResponse(DESK_PATH, status_code=303)
        return _form(services.company, "", 200)

    @routes.post(LOGIN_PATH)
    async def sign_in(
        request: Request, password: Annotated[str, Form(max_length=MAX_PASSWORD_CHARS)] = ""
    ) -> Response:
        address = request.client.host if request.client else ""
        try:
            _check_same_origin(request)
            await asyncio.to_thread(services.door.sign_in, request.session, password, address)
        except NotAllowed as exc:
            return _form(services.company, str(exc), 403)
        return RedirectResponse(DESK_PATH, status_code=303)

    @routes.get("/desk")
    def add_slash() -> Response:
        return RedirectResponse(DESK_PATH, status_code=303)

    @routes.get("/desk/logout")
    def leave(request: Request) -> Response:
        sign_out(request.session)
        return RedirectResponse(LOGIN_PATH, status_code=303)

    return routes


def _check_same_origin(request: Request) -> None:
    """Refuse forms sent from other sites; the same-site cookie already keeps most out."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("this form was sent from another site")


def _form(company: str, problem: str, status_code: int) -> HTMLResponse:
    alert = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    body = (
        f'<form class="login" method="post" action="{LOGIN_PATH}">'
        f"<p>{escape(company)}</p><h1>Admin desk</h1>{alert}"
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" required autofocus '
        f'autocomplete="current-password" maxlength="{MAX_PASSWORD_CHARS}">'
        '<button type="submit">Sign in</button></form>'
    )
    return HTMLResponse(page("Sign in", body, company=company), status_code=status_code)
