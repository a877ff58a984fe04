"""The HTTP server: bounds connections and their idle time, believes only the proxies it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.web.limits import network_of
from core.settings import Settings

HEAD_TIMEOUT_S = 10.0  # for the request line and all headers of one request
LINGER_S = 2.0  # for the rest of a body that was refused from its head
WRITE_TIMEOUT_S = 30.0  # without a byte read of an answer that waits
MAX_HEAD_BYTES = 32 * 1024
KEEP_ALIVE_S = 5


class TimedProtocol(H11Protocol):
    """
    uvicorn's HTTP/1.1 that hangs up on who holds a connection without using it.

    uvicorn itself waits for ever for a first request, for one that drips, for the rest of a
    body that it has refused, and for a reader that does not read. And it bounds connections in
    all only: here one network gets a share of them.
    """

    open_by_network: ClassVar[Counter[str]] = Counter()
    trusted: ClassVar[Any] = ()  # proxies, behind which all customers are
    most: ClassVar[int] = 100

    _network: str = ""
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and start waiting for the first head."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if address not in self.trusted:
            self._network = network_of(address)
            self.open_by_network[self._network] += 1
            if self.open_by_network[self._network] > self.most:
                transport.abort()
                return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came, then see what is still awaited."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head on this connection."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Give a reader that has fallen behind some time to catch up."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stop_write_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting and count the connection out."""
        self._stop_head_timer()
        self._stop_write_timer()
        if self._network:
            self.open_by_network[self._network] -= 1
            if not self.open_by_network[self._network]:
                del self.open_by_network[self._network]
            self._network = ""
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Set the clock by what is awaited of the client: a head, the rest of a body, nothing."""
        if self.transport.is_closing():
            self._stop_head_timer()
        elif self.conn.their_state is h11.IDLE:
            # h11's word for a client of whose next request no whole head has come
            self._await(HEAD_TIMEOUT_S)
        elif self.conn.their_state is h11.SEND_BODY and self._is_answered():
            self._await(LINGER_S)  # closed at once, it might lose the answer on its way
        else:
            self._stop_head_timer()

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _await(self, seconds: float) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(seconds, self._hang_up)

    def _hang_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def run(app: FastAPI, settings: Settings) -> None:
    """Serve until stopped; connections that stay open get three seconds to finish."""
    proxies = [each.strip() for each in settings.trusted_proxies.split(",") if each.strip()]
    TimedProtocol.trusted = _TrustedHosts(proxies)
    TimedProtocol.most = settings.max_connections_per_address
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
