"""Checks every request: the policy lists its route, our pages sent it, its size is bounded."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.web import policy
from bot.web.bodies import BodyRefused, CountedBody, replay
from bot.web.calls import CallTable, bound_hash
from bot.web.limits import Meter
from bot.web.listeners import Listeners
from bot.web.origins import comes_from_stranger, is_known_host
from bot.web.people import DESK_KEY, address_of, ensure_visitor, identify, look_up_session
from bot.web.policy import DESK, Route, Who
from bot.web.problems import SignInNeeded, answer_problem
from bot.web.windows import Windows
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
    """
    ASGI middleware that refuses what the policy does not let in; it needs the session's outside it.

    It does not change what the app answers, but for the headers that every answer gets.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Database,
        meter: Meter,
        listeners: Listeners,
        calls: dict[str, CallTable],  # by the mount path of the page
        windows: dict[str, Windows],  # likewise
        origins: list[str],  # of other sites' pages that may call the chat
        hosts: list[str],  # names by which this site is reached; empty means any
        secret: str,  # binds what a browser chooses to its visitor
        password_mark: str,
        company: str,
        audiences: tuple[str, ...],  # whose articles its people may read
        trusts_proxy: bool,
    ) -> None:
        self.app = app
        self.database, self.meter, self.listeners = database, meter, listeners
        self.calls, self.windows = calls, windows
        self.origins, self.hosts = origins, hosts
        self.secret, self.mark, self.company = secret, password_mark, company
        self.audiences = audiences
        self.proxy_is_clear = trusts_proxy

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
                answer.is_public = route.is_asset
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
        """
        Find out who sends a request and whether they may; return the route of the policy.

        Raises:
            Busy: Their network sends too many requests.
            BodyRefused: Two servers could read it as two different requests.
            NotFound: The policy has no such route.
            NotAllowed: Another site sent it, or the sender may not use this route.
        """
        path = str(request.scope["path"])  # what the router reads, not what a URL makes of it
        route = policy.find_route(request.method, path)
        is_asset = route is not None and route.is_asset
        if not is_asset:
            self.meter.count_request(address_of(request))
        _check_framing(request)
        self._warn_of_proxy(request)
        if not is_known_host(request, self.hosts):
            raise NotAllowed("this site has another name; RATCHET_HOSTS lists its names")
        if route is None:
            raise NotFound("there is no such page")
        if comes_from_stranger(request, [] if path.startswith(DESK) else self.origins):
            raise NotAllowed("this request was sent from another site's page")
        was_known = "visitor" in request.session
        if not is_asset:
            ensure_visitor(request.session)
        session = None
        if DESK_KEY in request.session and (route.who is Who.ADMIN or not is_asset):
            session = await asyncio.to_thread(
                look_up_session, self.database, request.session, self.mark
            )
        if "visitor" in request.session:
            identify(request, session, self.audiences)
        if route.who is Who.VISITOR and not was_known:
            raise NotAllowed("your browser sent no cookie; allow cookies and reload the page")
        if route.who is Who.ADMIN and session is None:
            raise SignInNeeded("sign in at /desk/login")
        return route

    def _warn_of_proxy(self, request: Request) -> None:
        """Say once that all customers behind a proxy count as one address."""
        if not self.proxy_is_clear and "x-forwarded-for" in request.headers:
            self.proxy_is_clear = True
            log.warning(
                "requests come through a proxy at %s: name it in RATCHET_TRUSTED_PROXIES, or all "
                "who are behind it share the limits of one address",
                address_of(request),
            )

    async def _checked(
        self, request: Request, route: Route, receive: Receive, held: ExitStack
    ) -> Receive:
        """Return the body with bounds on its size and time."""
        page = DESK if route.path.startswith(DESK) else policy.CHAT
        kind = route.path.removeprefix(page)
        if kind == policy.JOIN:
            return await self._checked_call(request, page, receive)
        if kind in (policy.STREAM, policy.HEARTBEAT):
            self._hold_stream(request, page, kind, held)
        if kind == policy.UPLOAD:
            return CountedBody(receive, MAX_UPLOAD_BYTES, UPLOAD_TIMEOUT_S)
        return CountedBody(receive, MAX_FORM_BYTES, CALL_TIMEOUT_S)

    async def _checked_call(self, request: Request, page: str, receive: Receive) -> Receive:
        """Check and count a call; return a body that holds what was understood of it."""
        visitor, address = str(request.session["visitor"]), address_of(request)
        body = CountedBody(receive, MAX_CALL_BYTES, CALL_TIMEOUT_S)
        session_hash, call = self.calls[page].read(await body.read(), visitor, self.secret)
        if page == policy.CHAT:
            self.meter.count_call(visitor, address)
        self.windows[page].call(session_hash, visitor, address)
        _set_length(request.scope, len(call))
        return replay(call, receive)

    def _hold_stream(self, request: Request, page: str, kind: str, held: ExitStack) -> None:
        """Let a stream carry its own visitor's answers only, and count it while it is open."""
        visitor, windows = str(request.session["visitor"]), self.windows[page]
        session_hash = self._bind(request, kind, visitor)
        if kind == policy.STREAM and not windows.is_known(session_hash):
            raise NotFound("this window waits for no answer")
        is_listening = kind == policy.STREAM
        held.enter_context(
            self.listeners.listening(
                session_hash if is_listening else "", visitor, address_of(request)
            )
        )
        if is_listening:
            windows.stream_opened(session_hash)
            held.callback(windows.stream_closed, session_hash)

    def _bind(self, request: Request, kind: str, visitor: str) -> str:
        """Replace the window's name in a stream's address by the one bound to the visitor."""
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
    """An ASGI `send` that adds our headers; a refusal may replace what has not begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.has_begun, self.is_refused = send, False, False
        self.body: Receive | None = None
        self.is_public = False  # the same for everybody, as a style sheet is

    async def __call__(self, message: Message) -> None:
        """Send a message of the app, unless the request has been refused meanwhile."""
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
            if "set-cookie" in headers or not self.is_public:
                headers.setdefault("Cache-Control", "private, no-store")
        await self._send(message)


def _check_framing(request: Request) -> None:
    """Refuse what two servers in a row may read as two different requests."""
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        raise BodyRefused("a body has a length or comes in chunks, not both", 400)


def _set_length(scope: Scope, n_bytes: int) -> None:
    headers = MutableHeaders(scope=scope)
    headers["content-length"] = str(n_bytes)
    headers["content-type"] = "application/json"
    del headers["transfer-encoding"]
