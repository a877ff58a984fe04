"""What machines ask: /health for all, /metrics for whom it is configured."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bot.services import Services
from core.base_model import BaseModel, read_base_model
from core.db import Database
from core.errors import DatabaseError, NotFound
from core.feedback import count_ratings
from core.learning import serving
from core.turns import count_turns

KEPT_S = 1.0  # a look at both services costs; however many ask, there is one a second


@dataclass(slots=True)
class _Health:
    """The newest look at the services."""

    at: float = -KEPT_S  # monotonic, s
    database: bool = False
    model: bool = False


def probe_routes(services: Services) -> APIRouter:
    """Return the routes for supervisors and Prometheus."""
    routes = APIRouter()
    newest, looking = _Health(), asyncio.Lock()

    @routes.get("/health")
    async def health() -> Response:
        async with looking:
            if time.monotonic() - newest.at > KEPT_S:
                newest.database, newest.model = await asyncio.gather(
                    asyncio.to_thread(_answers, services.database),
                    asyncio.to_thread(services.vllm.healthy),
                )
                newest.at = time.monotonic()
        well = newest.database and newest.model
        services_well = {"database": newest.database, "model": newest.model}
        state = {"status": "ok" if well else "degraded", **services_well}
        return JSONResponse(state, status_code=200 if well else 503)

    @routes.get("/metrics")
    def metrics(request: Request) -> Response:
        token, given = services.settings.metrics_token, request.headers.get("authorization", "")
        if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotFound("there is no such page")
        figures = _exposition(services.database, read_base_model(services.settings.model))
        return Response(figures, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def _answers(database: Database) -> bool:
    try:
        with database.connect() as conn:
            conn.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _exposition(database: Database, base: BaseModel) -> bytes:
    """Return the figures in Prometheus' text format; they are read from Postgres each time."""
    with database.connect() as conn:
        turns, ratings = count_turns(conn), count_ratings(conn)
        live = serving(conn, base).adapter
    figures = CollectorRegistry()  # one for each answer, so that no adapter of before stays in it
    for name, what, label, values in (
        ("ratchet_turns", "Answers by how they ended.", "status", turns),
        ("ratchet_thumbs", "Current thumbs.", "rating", ratings),
        ("ratchet_live_adapter", "Which adapter answers.", "name", {live or "base": 1}),
    ):
        gauge = Gauge(name, what, [label], registry=figures)
        for value, n in values.items():
            gauge.labels(value).set(n)
    return generate_latest(figures)
