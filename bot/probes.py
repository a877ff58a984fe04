"""What machines ask: /health for all, /metrics for whom it is configured."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from bot.services import Services
from core.base_model import BaseModel, read_base_model
from core.conversations import count_turns
from core.db import Database
from core.errors import DatabaseError, NotFound
from core.feedback import count_ratings
from core.learning import serving

KEPT_S = 1.0  # a look at both services costs; however many ask, there is one a second


@dataclass(slots=True)
class _Seen:
    """The newest look at the services."""

    at: float = -KEPT_S  # monotonic, s
    database: bool = False
    model: bool = False


def probe_routes(services: Services) -> APIRouter:
    """Return the routes for supervisors and Prometheus."""
    routes = APIRouter()
    seen, looking = _Seen(), asyncio.Lock()

    @routes.get("/health")
    async def health() -> Response:
        async with looking:
            if time.monotonic() - seen.at > KEPT_S:
                seen.database, seen.model = await asyncio.gather(
                    asyncio.to_thread(_answers, services.database),
                    asyncio.to_thread(services.vllm.healthy),
                )
                seen.at = time.monotonic()
        well = seen.database and seen.model
        services_well = {"database": seen.database, "model": seen.model}
        state = {"status": "ok" if well else "degraded", **services_well}
        return JSONResponse(state, status_code=200 if well else 503)

    @routes.get("/metrics")
    def metrics(request: Request) -> PlainTextResponse:
        token, given = services.settings.metrics_token, request.headers.get("authorization", "")
        if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotFound("there is no such page")
        return PlainTextResponse(
            _exposition(services.database, read_base_model(services.settings.model)),
            media_type="text/plain; version=0.0.4",
        )

    return routes


def _answers(database: Database) -> bool:
    try:
        with database.connect() as conn:
            conn.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _exposition(database: Database, base: BaseModel) -> str:
    """Return the figures in Prometheus' text format; they are read from Postgres each time."""
    with database.connect() as conn:
        turns, ratings = count_turns(conn), count_ratings(conn)
        live = serving(conn, base).adapter
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
