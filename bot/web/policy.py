"""
The written policy: who may use which route of the app.

The guard lets nothing else through. What a function of the pages needs stands at the function
(see `bot.web.handlers`). tests/attack/test_policy.py walks the app's real routes and functions and
fails when a route has no line here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from starlette.routing import compile_path

CHAT, DESK = "", "/desk"  # where the two pages are mounted
SIGN_IN = "/desk/login"


class Who(StrEnum):
    """Who may do a thing; each includes those after it."""

    ANYONE = "anyone"
    VISITOR = "visitor"  # whose browser has shown the cookie that a page gave it
    ADMIN = "admin"  # with an open session of the desk
    NOBODY = "nobody"


@dataclass(frozen=True)
class Route:
    """One line: a path as Starlette writes it, its methods, and who may ask for it."""

    methods: str
    path: str
    who: Who

    @property
    def is_asset(self) -> bool:
        """Whether it is a file of the pages, the same for everybody."""
        return self.path.removeprefix(DESK) in (*ASSETS, "/style.css", "/favicon.ico")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression."""
        return compile_path(self.path)[0]


def _of_gradio(methods: str, path: str, chat: Who, desk: Who) -> list[Route]:
    return [Route(methods, CHAT + path, chat), Route(methods, DESK + path, desk)]


# What the pages' own scripts ask for, as seen in a browser.
JOIN = "/gradio_api/queue/join"
STREAM = "/gradio_api/queue/data"
HEARTBEAT = "/gradio_api/heartbeat/{session_hash}"
UPLOAD = "/gradio_api/upload"
ASSETS = ("/assets/{path:path}", "/static/{path:path}", "/theme.css")

OPEN: list[Route] = [
    Route("GET", "/style.css", Who.ANYONE),
    Route("GET", "/health", Who.ANYONE),
    Route("GET", "/metrics", Who.ANYONE),  # with the token that the settings name
    # Which visitor's, and for which audience, is checked by the route itself.
    Route("GET", "/documents/{document_id}", Who.ANYONE),
    Route("GET", "/turns/{turn_id}/passages/{rank}", Who.ANYONE),
    Route("GET POST", SIGN_IN, Who.ANYONE),
    Route("GET", "/desk", Who.ADMIN),
    Route("POST", "/desk/logout", Who.ADMIN),
    *(line for path in ASSETS for line in _of_gradio("GET", path, Who.ANYONE, Who.ADMIN)),
    *_of_gradio("GET HEAD", "/", Who.ANYONE, Who.ADMIN),
    *_of_gradio("GET", "/favicon.ico", Who.ANYONE, Who.ADMIN),
    *_of_gradio("POST", JOIN, Who.VISITOR, Who.ADMIN),
    *_of_gradio("GET", STREAM, Who.VISITOR, Who.ADMIN),
    *_of_gradio("GET", HEARTBEAT, Who.VISITOR, Who.ADMIN),
    *_of_gradio("POST", UPLOAD, Who.NOBODY, Who.ADMIN),
    *_of_gradio("GET", "/gradio_api/upload_progress", Who.NOBODY, Who.ADMIN),
]

# Gradio's other routes: closed to everybody, under both pages, whatever the method.
CLOSED = (
    "/config", "/config/", "/custom_component/{id}/{environment}/{type}/{file_name}", "/login",
    "/login/", "/logout", "/manifest.json", "/monitoring", "/monitoring/summary",
    "/monitoring/{key}", "/openapi.json", "/pwa_icon", "/pwa_icon/{size}", "/robots.txt",
    "/svelte/{path:path}",
    "/gradio_api/api/{api_name}", "/gradio_api/api/{api_name}/", "/gradio_api/app_id",
    "/gradio_api/app_id/", "/gradio_api/call/v2/{api_name}", "/gradio_api/call/v2/{api_name}/",
    "/gradio_api/call/v2/{api_name}/{event_id}", "/gradio_api/call/{api_name}",
    "/gradio_api/call/{api_name}/", "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/cancel", "/gradio_api/component_server", "/gradio_api/component_server/",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}", "/gradio_api/deep_link",
    "/gradio_api/dev/reload", "/gradio_api/file/{path:path}", "/gradio_api/file={path_or_url:path}",
    "/gradio_api/info", "/gradio_api/info/", "/gradio_api/login_check",
    "/gradio_api/login_check/", "/gradio_api/openapi.json", "/gradio_api/process_recording",
    "/gradio_api/proxy={url_path:path}", "/gradio_api/queue/status", "/gradio_api/reset",
    "/gradio_api/reset/", "/gradio_api/run/{api_name}", "/gradio_api/run/{api_name}/",
    "/gradio_api/runs", "/gradio_api/runs/", "/gradio_api/startup-events",
    "/gradio_api/stream/{event_id}", "/gradio_api/stream/{event_id}/close",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "/gradio_api/theme.css", "/gradio_api/token", "/gradio_api/token/",
    "/gradio_api/undo-vibe-edit", "/gradio_api/undo-vibe-edit/", "/gradio_api/user",
    "/gradio_api/user/", "/gradio_api/vibe-code", "/gradio_api/vibe-code/",
    "/gradio_api/vibe-edit", "/gradio_api/vibe-edit/", "/gradio_api/vibe-starter-queries",
    "/gradio_api/vibe-starter-queries/",
)  # fmt: skip


def find_route(method: str, path: str) -> Route | None:
    """Return the line that opens a path for this method; None when none does."""
    for route in OPEN:
        if method in route.methods.split() and route.pattern.match(path):
            return None if route.who is Who.NOBODY else route
    return None
