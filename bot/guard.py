"""What surrounds every request: a visitor's id, the locked desk, careful headers."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.accounts import AdminDoor, ensure_visitor, is_admin

LOGIN_PATH = "/desk/login"
UPLOAD_PATH = "/gradio_api/upload"  # Gradio's own; only the desk takes files
MAX_UPLOAD_BYTES = 200_000_000  # several articles at once; the desk bounds each of them
MAX_BODY_BYTES = 4_000_000  # a megabyte typed, and the conversation that comes back with a thumb
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


class Guard:
    """ASGI middleware inside SessionMiddleware; streams pass through untouched."""

    def __init__(self, app: ASGIApp, door: AdminDoor) -> None:
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        session = scope["session"]
        ensure_visitor(session)
        self.door.end_outdated(session)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = _refusal(Request(scope)) or self.app
        await answer(scope, receive, send_with_headers)


def _refusal(request: Request) -> Response | None:
    """Return what keeps a request out, None when it may pass."""
    path = request.url.path
    if _is_desk(path) and not is_admin(request.session):
        return _turned_away(request)
    is_upload = path.endswith(UPLOAD_PATH)
    if is_upload and not _is_desk(path):
        return JSONResponse({"detail": "files are not taken here"}, status_code=404)
    most = MAX_UPLOAD_BYTES if is_upload else MAX_BODY_BYTES
    if int(request.headers.get("content-length", "0")) > most:
        return JSONResponse({"detail": "that is too much at once"}, status_code=413)
    return None


def _is_desk(path: str) -> bool:
    return (path == "/desk" or path.startswith("/desk/")) and path.rstrip("/") != LOGIN_PATH


def _turned_away(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(LOGIN_PATH, status_code=303)
    return JSONResponse({"detail": f"sign in at {LOGIN_PATH}"}, status_code=401)
