"""What surrounds every request: the policy's lines and nothing else, in bounds, from our pages."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.web import policy
from bot.web.bodies import CountedBody, replay
from bot.web.calls import CallTable, bound_hash
from bot.web.limits import Meter
from bot.web.listeners import Listeners
from bot.web.origins import comes_from_stranger
from bot.web.people import DESK_KEY, address_of, ensure_visitor, look_up_session
from bot.web.policy import DESK, Route, Who
from bot.web.problems import SignInNeeded, answer_problem
from core.db import Database
from core.errors import NotAllowed, NotFound, RatchetError

MAX_UPLOAD_BYTES = 200_000_000  # several articles at once; the desk bounds each of them
MAX_CALL_BYTES = 256_000  # a question, an answer, a note; conversations don't travel in calls
MAX_FORM_BYTES = 4_000
CALL_TIMEOUT_S, UPLOAD_TIMEOUT_S = 20.0, 900.0
# Gradio builds its pages with inline scripts and compiles small functions. Nothing may be
# fetched from elsewhere: a picture's address in an answer could carry away what was said.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
log = logging.getLogger("ratchet.web")


class Guard:
    """ASGI middleware inside the session's; answers pass through it untouched."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Database,
        meter: Meter,
        listeners: Listeners,
        calls: dict[str, CallTable],  # by the mount path of the page
        origins: list[str],
        secret: str,  # binds what a browser chooses to its visitor
        password_mark: str,
        company: str,
    ) -> None:
        self.app = app
        self.database, self.meter, self.listeners = database, meter, listeners
        self.calls, self.origins = calls, origins
        self.secret, self.mark, self.company = secret, password_mark, company

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; there is no websocket in this app."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._handle(scope, receive, _Answer(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _handle(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        request = Request(scope)
        try:
            with ExitStack() as held:
                route = await self._admit(request)
                answer.body = await self._checked(request, route, receive, held)
                await self.app(scope, answer.body, answer)
        except RatchetError as exc:
            await answer.refuse(request, exc, self.company)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:
            if answer.has_begun:
                raise  # the server breaks the connection off, so that nobody takes it for whole
            log.exception("%s %r failed", request.method, request.url.path)
            problem = RatchetError("something unforeseen went wrong; the log says what")
            await answer.refuse(request, problem, self.company)
        if isinstance(answer.body, CountedBody) and answer.body.refused:
            await answer.refuse(request, answer.body.refused, self.company)

    async def _admit(self, request: Request) -> Route:
        """Return the policy's line that lets a request in."""
        path = request.url.path
        route = policy.find_route(request.method, path)
        if not path.startswith(("/assets/", "/static/", "/desk/assets/", "/desk/static/")):
            self.meter.count_request(address_of(request))
        if route is None:
            raise NotFound("there is no such page")
        if comes_from_stranger(request, self.origins):
            raise NotAllowed("this request was sent from another site's page")
        was_known = ensure_visitor(request.session)
        if DESK_KEY in request.session:
            request.scope["ratchet.desk_session"] = await asyncio.to_thread(
                look_up_session, self.database, request.session, self.mark
            )
        if route.who is Who.VISITOR and not was_known:
            raise NotAllowed("your browser sent no cookie; allow cookies and reload the page")
        if route.who is Who.ADMIN and request.scope.get("ratchet.desk_session") is None:
            raise SignInNeeded("sign in at /desk/login")
        return route

    async def _checked(
        self, request: Request, route: Route, receive: Receive, held: ExitStack
    ) -> Receive:
        """Bound the body and bind what names a browser's window to its visitor."""
        page = DESK if route.path.startswith(DESK) else policy.CHAT
        kind = route.path.removeprefix(page)
        visitor = str(request.session["visitor"])
        if kind == policy.JOIN:
            body = CountedBody(receive, MAX_CALL_BYTES, CALL_TIMEOUT_S)
            _, call = self.calls[page].read(await body.read(), visitor, self.secret)
            _set_length(request.scope, len(call))
            return replay(call, receive)
        if kind in (policy.STREAM, policy.HEARTBEAT):
            session_hash = self._bind(request, kind, visitor)
            if kind == policy.STREAM:
                if not self.calls[page].awaits_answer(session_hash):
                    raise NotFound("this window waits for no answer")
                listening = self.listeners.listening(session_hash, visitor, address_of(request))
                held.enter_context(listening)
        if kind == policy.UPLOAD:
            return CountedBody(receive, MAX_UPLOAD_BYTES, UPLOAD_TIMEOUT_S)
        return CountedBody(receive, MAX_FORM_BYTES, CALL_TIMEOUT_S)

    def _bind(self, request: Request, kind: str, visitor: str) -> str:
        """Replace the session hash in a stream's address by the visitor's own."""
        scope = request.scope
        if kind == policy.STREAM:
            given = parse_qs(request.url.query).get("session_hash", [""])[0]
            bound = bound_hash(given, visitor, self.secret)
            scope["query_string"] = urlencode({"session_hash": bound}).encode()
            return bound
        before, given = scope["path"].rsplit("/", 1)
        bound = bound_hash(given, visitor, self.secret)
        scope["path"] = f"{before}/{bound}"
        scope["raw_path"] = scope["path"].encode()
        return bound


class _Answer:
    """An ASGI `send` that adds our headers, and that a refusal can still take the place of."""

    def __init__(self, send: Send) -> None:
        self._send, self.has_begun, self.is_refused = send, False, False
        self.body: Receive | None = None

    async def __call__(self, message: Message) -> None:
        """Pass a message of the app on, unless the request has been refused meanwhile."""
        body_refused = isinstance(self.body, CountedBody) and self.body.refused is not None
        if self.is_refused or (body_refused and not self.has_begun):
            return
        await self._pass_on(message)

    async def refuse(self, request: Request, problem: RatchetError, company: str) -> None:
        """Answer with the problem, unless the app's own answer is on its way."""
        if self.has_begun:
            return
        self.is_refused = True
        response = answer_problem(request, problem, company)
        await response(request.scope, request.receive, self._pass_on)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _set_length(scope: Scope, n_bytes: int) -> None:
    headers = MutableHeaders(scope=scope)
    headers["content-length"] = str(n_bytes)
    headers["content-type"] = "application/json"
    del headers["transfer-encoding"]
