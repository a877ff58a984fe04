"""Turns an expected error into an answer: a small page for a person, JSON for a program."""

from __future__ import annotations

from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.requests import Request

from bot.templates import render
from bot.web.bodies import BodyRefused
from bot.web.policy import SIGN_IN
from core.errors import (
    Busy,
    DatabaseError,
    InvalidInput,
    ModelUnavailable,
    NotAllowed,
    NotFound,
    RatchetError,
)

STATUS_CODES: dict[type[RatchetError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    InvalidInput: 422,
    Busy: 429,
    DatabaseError: 503,
    ModelUnavailable: 503,
}


class SignInNeeded(NotAllowed):
    """The desk was asked for without an open session."""


def answer_problem(request: Request, problem: RatchetError, company: str) -> Response:
    """Return the answer that tells a problem; who must sign in first is led there."""
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if isinstance(problem, SignInNeeded):
        if wants_page:
            return RedirectResponse(SIGN_IN, status_code=303)
        return JSONResponse({"detail": str(problem)}, 401)
    code, headers = _status_code(problem), _headers(problem)
    if not wants_page:
        return JSONResponse({"detail": str(problem)}, code, headers=headers)
    line = str(problem)
    sentence = f"{line[:1].upper()}{line[1:]}."
    shown = render("problem.html", title="Error", company=company, sentence=sentence)
    return HTMLResponse(shown, code, headers=headers)


def _status_code(problem: RatchetError) -> int:
    if isinstance(problem, BodyRefused):
        return problem.status_code
    codes = (code for kind, code in STATUS_CODES.items() if isinstance(problem, kind))
    return next(codes, 500)


def _headers(problem: RatchetError) -> dict[str, str]:
    if isinstance(problem, Busy):
        return {"Retry-After": str(problem.retry_after_s)}
    # What is still to come of a refused body is not read: the connection ends.
    return {"Connection": "close"} if isinstance(problem, BodyRefused) else {}
