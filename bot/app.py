"""Composition root: opens what the pages need, mounts them behind the guard, serves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware

from answering.plan import Planner
from bot.chat.page import build_chat_page
from bot.chat.service import ChatService
from bot.desk import build_desk
from bot.probes import probe_routes
from bot.services import Services
from bot.theme import page_head, style_sheet, theme
from bot.upkeep import while_serving
from bot.views import view_routes
from bot.web import server
from bot.web.admission import Admission
from bot.web.calls import CallTable
from bot.web.cors import ChatCors
from bot.web.guard import Guard
from bot.web.limits import Meter
from bot.web.listeners import Listeners
from bot.web.login import login_routes
from bot.web.origins import allowed_origins, known_hosts
from bot.web.password import PasswordCheck
from bot.web.people import VISITOR_COOKIE_S, password_mark
from bot.web.policy import CHAT, DESK
from bot.web.problems import answer_problem
from bot.web.secure_cookies import SecureCookies
from bot.web.temporary import private_folder
from bot.web.windows import Windows
from core.company import load_company
from core.db import Database
from core.errors import NotFound, RatchetError
from core.secrets import given_by_environment, renew_exposed
from core.settings import Settings, get_settings
from core.vllm import VllmClient
from retrieval.embed import get_embedder
from retrieval.load import MAX_BYTES
from retrieval.options import Scope

__all__ = ["Services", "create_app", "make_services", "serve"]


def make_services(settings: Settings) -> Services:
    """Load the models of this process (about five seconds); nothing is connected yet."""
    database = Database(settings.dsn)
    embedder = get_embedder(settings)
    return Services(
        settings=settings,
        database=database,
        embedder=embedder,
        chat=ChatService(Planner.of(settings, database)),
        vllm=VllmClient(settings.vllm_base_url, settings.vllm_key),
        password=PasswordCheck(settings),
        meter=Meter(settings),
        admission=Admission(settings),
        listeners=Listeners(),
        company=load_company(settings.company).name,
    )


def create_app(settings: Settings) -> FastAPI:
    """Return the whole web app: the chat at /, the desk at /desk, probes and plain pages."""
    uploads = _use_private_folder(settings)
    # Gradio counts every call with pandas as long as it remembers any, shown or not.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**31)
    services = make_services(settings)
    windows: dict[str, Windows] = {}  # filled when the pages are built
    app = FastAPI(
        lifespan=while_serving(services, uploads, windows),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _add_error_pages(app, services)
    for routes in (probe_routes, view_routes, login_routes):
        app.include_router(routes(services))
    app.add_api_route("/style.css", _style_sheet)
    desk, chat = build_desk(services), build_chat_page(services)
    _mount(app, desk, services, DESK, head="", max_file_bytes=MAX_BYTES)
    _mount(app, chat, services, CHAT, head=page_head(), max_file_bytes=2**20)
    windows |= {DESK: Windows(desk), CHAT: Windows(chat)}
    calls = {DESK: CallTable(desk, uploads), CHAT: CallTable(chat, uploads)}
    _surround(app, services, calls, windows)
    return app


def _use_private_folder(settings: Settings) -> Path:
    """Have Gradio, and what it uploads through, write into a folder of ours; it may be swept."""
    folder = private_folder(settings.home / "gradio")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    tempfile.tempdir = str(folder)
    return folder


def _surround(
    app: FastAPI, services: Services, calls: dict[str, CallTable], windows: dict[str, Windows]
) -> None:
    """Put the layers around the app; the last one added is the outermost."""
    settings, secret = services.settings, services.settings.secret("session-secret")
    # It allows nothing; that it is there has Gradio leave out its own, which believes any origin.
    app.add_middleware(CORSMiddleware)
    origins = allowed_origins(settings)
    app.add_middleware(
        Guard,
        database=services.database,
        meter=services.meter,
        listeners=services.listeners,
        calls=calls,
        windows=windows,
        origins=origins,
        hosts=known_hosts(settings),
        secret=secret,
        password_mark=password_mark(settings),
        company=services.company,
        audiences=Scope.of(settings).audiences,
        trusts_proxy=bool(settings.trusted_proxies),
    )
    app.add_middleware(
        SessionMiddleware,
        secret_key=secret,
        session_cookie="ratchet",
        max_age=VISITOR_COOKIE_S,
        same_site="lax",
    )
    app.add_middleware(
        ChatCors,
        allow_origins=origins,
        allow_credentials=bool(origins),
        allow_methods=["GET", "POST"] if origins else [],
        allow_headers=["content-type"] if origins else [],
    )
    app.add_middleware(SecureCookies)


def _mount(
    app: FastAPI, blocks: gr.Blocks, services: Services, path: str, *, head: str,
    max_file_bytes: int,
) -> None:  # fmt: skip
    settings = services.settings
    # An answer that waits holds one of Gradio's workers: the others must not run out.
    blocks.max_threads = 64 + settings.max_answers + settings.max_answers_waiting
    blocks.queue(default_concurrency_limit=blocks.max_threads, max_size=512)
    gr.mount_gradio_app(
        app,
        blocks,
        path=path or "/",
        run_history=False,
        footer_links=[],
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        max_file_size=max_file_bytes,
        allowed_paths=[],
        blocked_paths=_never_served(settings),
        theme=theme(),
        css=style_sheet(),
        head=head,
    )
    # Gradio checks the paths that a client names only when this is set, and mounting never does.
    blocks.has_launched = True


def _never_served(settings: Settings) -> list[str]:
    """Return what lies in home besides Gradio's own folder; the guard serves no file anyhow."""
    names = (
        "admin-password", "session-secret", "vllm-api-key", "postgres", "redis", "vllm",
        "adapters", "datasets", "runs", "logs", "supervisor", "uploads",
    )  # fmt: skip
    return [str(settings.home / name) for name in names]


def _add_error_pages(app: FastAPI, services: Services) -> None:
    @app.exception_handler(RatchetError)
    def expected(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RatchetError)  # it is registered for nothing else
        return answer_problem(request, exc, services.company)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, exc: Exception) -> Response:
        return answer_problem(request, NotFound("there is no such page"), services.company)


def _style_sheet() -> Response:
    return Response(style_sheet(), media_type="text/css")


def serve(settings: Settings) -> None:
    """Serve until stopped."""
    renew_exposed(settings.home, given_by_environment(settings))
    server.run(create_app(settings), settings)


if __name__ == "__main__":
    serve(get_settings())
