"""The HTTP server: bounded connections, heads that must come in time, proxies only by name."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.settings import Settings

HEAD_TIMEOUT_S = 10.0  # for the request line and all headers of one request
MAX_HEAD_BYTES = 32 * 1024
KEEP_ALIVE_S = 5


class TimedProtocol(H11Protocol):
    """
    uvicorn's HTTP/1.1 that hangs up on who does not send a whole head in time.

    uvicorn itself waits for ever for a first request, and for one that drips.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, then see whether a head is still awaited."""
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head on this connection."""
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        # IDLE is h11's word for a client of whose next request no whole head has come.
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._hang_up)

    def _hang_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def run(app: FastAPI, settings: Settings) -> None:
    """Serve until stopped; connections that stay open get three seconds to finish."""
    proxies = [each.strip() for each in settings.trusted_proxies.split(",") if each.strip()]
    options: dict[str, Any] = {
        "host": settings.web_host,
        "port": settings.web_port,
        "http": TimedProtocol,
        "ws": "none",
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "limit_concurrency": settings.max_connections,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": 3,
        # Nobody's word for an address counts but that of the proxies that the settings name.
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": proxies,
        "server_header": False,
        "access_log": False,
        "log_level": "warning",
    }
    uvicorn.run(app, **options)
