"""Composition root: opens what the pages need, mounts them, serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from html import escape
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware.sessions import SessionMiddleware

from bot.accounts import VISITOR_COOKIE_S, AdminDoor
from bot.chat import ChatService
from bot.generation import ANSWER_TIMEOUT_S
from bot.guard import Guard
from bot.html import page
from bot.login import login_routes
from bot.probes import probe_routes
from bot.services import Services
from bot.theme import page_head, style_sheet, theme
from bot.tokens import ModelTokenizer
from bot.views import view_routes
from core.conversations import fail_stale_turns
from core.db import Database
from core.errors import (
    DatabaseUnavailable,
    InvalidInput,
    ModelUnavailable,
    NotAllowed,
    NotFound,
    RatchetError,
)
from core.settings import Settings, get_settings
from core.vllm import VllmClient
from retrieval.embed import get_embedder
from retrieval.load import MAX_BYTES

__all__ = ["Services", "create_app", "make_services", "serve"]

SWEEP_EVERY_S = 60
STATUS_CODES: dict[type[RatchetError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    InvalidInput: 422,
    DatabaseUnavailable: 503,
    ModelUnavailable: 503,
}
log = logging.getLogger("ratchet.web")


def make_services(settings: Settings) -> Services:
    """Load the models of this process (about five seconds); nothing is connected yet."""
    database = Database(settings.dsn)
    embedder = get_embedder(settings)
    name = settings.company / "name.txt"
    return Services(
        settings=settings,
        database=database,
        embedder=embedder,
        chat=ChatService(settings, database, embedder, ModelTokenizer(settings.model)),
        vllm=VllmClient(settings.vllm_base_url, settings.vllm_api_key),
        door=AdminDoor(settings),
        company=name.read_text(encoding="utf-8").strip() if name.exists() else "Help",
    )


def create_app(settings: Settings) -> FastAPI:
    """Return the whole web app: the chat at /, the desk at /desk, probes and plain pages."""
    # Imported here: a page imports Services from this module.
    from bot.chat_page import build_chat_page
    from bot.desk import build_desk

    services = make_services(settings)
    app = FastAPI(lifespan=_lifespan(services), docs_url=None, redoc_url=None, openapi_url=None)
    _add_error_pages(app, services)
    for routes in (probe_routes, view_routes, login_routes):
        app.include_router(routes(services))
    app.add_api_route("/style.css", _style_sheet)
    _mount(app, build_desk(services), "/desk", head="", max_file_bytes=MAX_BYTES)
    _mount(app, build_chat_page(services), "/", head=page_head(), max_file_bytes=2**20)
    app.add_middleware(Guard, door=services.door)
    app.add_middleware(
        SessionMiddleware,
        secret_key=settings.secret("session-secret"),
        session_cookie="ratchet",
        max_age=VISITOR_COOKIE_S,
        same_site="lax",
    )
    return app


def _lifespan(services: Services) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.database.open()
        sweeper = asyncio.create_task(_sweep(services.database))
        await asyncio.to_thread(services.embedder.query, "warm up")
        try:
            yield
        finally:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            await services.chat.close()
            services.vllm.close()
            services.database.close()

    return lifespan


async def _sweep(database: Database) -> None:
    """At the start and every minute: fail turns whose process died while writing them."""
    while True:
        try:
            n_failed = await asyncio.to_thread(_fail_stale, database)
            if n_failed:
                log.warning("%d answers were left unfinished; marked as failed", n_failed)
        except DatabaseUnavailable as exc:
            log.warning("unfinished answers not swept: %s", exc)
        await asyncio.sleep(SWEEP_EVERY_S)


def _fail_stale(database: Database) -> int:
    with database.connect() as conn:
        return fail_stale_turns(conn, ANSWER_TIMEOUT_S)


def _mount(app: FastAPI, blocks: gr.Blocks, path: str, *, head: str, max_file_bytes: int) -> None:
    blocks.queue(default_concurrency_limit=64, max_size=512)
    gr.mount_gradio_app(
        app,
        blocks,
        path=path,
        run_history=False,
        footer_links=[],
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        max_file_size=max_file_bytes,
        allowed_paths=[],
        theme=theme(),
        css=style_sheet(),
        head=head,
    )


def _add_error_pages(app: FastAPI, services: Services) -> None:
    def answer(request: Request, message: str, status_code: int) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"detail": message}, status_code=status_code)
        body = f'<h1>That did not work</h1><p class="problem">{escape(message)}</p>'
        body += '<p><a href="/">Back to the chat</a></p>'
        return HTMLResponse(page("Error", body, company=services.company), status_code=status_code)

    @app.exception_handler(RatchetError)
    def expected(request: Request, exc: Exception) -> Response:
        codes = (code for kind, code in STATUS_CODES.items() if isinstance(exc, kind))
        return answer(request, str(exc), next(codes, 500))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, exc: Exception) -> Response:
        return answer(request, "there is no such page", 404)


def _style_sheet() -> Response:
    return Response(style_sheet(), media_type="text/css")


def serve(settings: Settings) -> None:
    """Serve until stopped; connections that stay open get three seconds to finish."""
    uvicorn.run(
        create_app(settings),
        host=settings.web_host,
        port=settings.web_port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    serve(get_settings())
