"""What machines ask: /health (is all well?) and /metrics (how many?)."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from bot.services import Services
from core.conversations import count_turns
from core.db import Database
from core.errors import DatabaseUnavailable
from core.feedback import count_ratings
from core.learning import live_adapter


def probe_routes(services: Services) -> APIRouter:
    """Return the routes for supervisors and Prometheus."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Response:
        database, model = await asyncio.gather(
            asyncio.to_thread(_answers, services.database),
            asyncio.to_thread(services.vllm.healthy),
        )
        well = database and model
        state = {"status": "ok" if well else "degraded", "database": database, "model": model}
        return JSONResponse(state, status_code=200 if well else 503)

    @routes.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(
            _exposition(services.database), media_type="text/plain; version=0.0.4"
        )

    return routes


def _answers(database: Database) -> bool:
    try:
        with database.connect() as conn:
            conn.execute("SELECT 1")
    except DatabaseUnavailable:
        return False
    return True


def _exposition(database: Database) -> str:
    """Return the figures in Prometheus' text format; they are read from Postgres each time."""
    with database.connect() as conn:
        turns, ratings, live = count_turns(conn), count_ratings(conn), live_adapter(conn)
    lines = ["# HELP ratchet_turns Answers by how they ended.", "# TYPE ratchet_turns gauge"]
    lines += [f'ratchet_turns{{status="{status}"}} {n}' for status, n in turns.items()]
    lines += ["# HELP ratchet_thumbs Current thumbs.", "# TYPE ratchet_thumbs gauge"]
    lines += [f'ratchet_thumbs{{rating="{rating}"}} {n}' for rating, n in ratings.items()]
    lines += ["# HELP ratchet_live_adapter Which adapter answers; base when none does."]
    lines += [
        "# TYPE ratchet_live_adapter gauge",
        f'ratchet_live_adapter{{name="{live or "base"}"}} 1',
    ]
    return "\n".join(lines) + "\n"
