"""Counts the open streams of each browser window: an answer that nobody reads is not written."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bot.web.limits import network_of
from core.errors import Busy

ARRIVES_WITHIN_S = 10.0  # from a question to the stream of its answer, over the slowest network
GONE_AFTER_S = 1.2  # without a stream; a page closes one and opens the next within moments
LOOK_EVERY_S = 0.2
MAX_STREAMS_PER_VISITOR = 40
MAX_STREAMS_PER_ADDRESS = 400
MAX_REMEMBERED = 10_000


class Listeners:
    """Counts the open streams by Gradio's session; used from one event loop only."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._closed_at: dict[str, float] = {}  # of sessions without a stream: monotonic, s
        self._of_visitor: Counter[str] = Counter()
        self._of_network: Counter[str] = Counter()
        self._awaited: dict[str, list[asyncio.Event]] = {}  # one for each question that waits

    @contextmanager
    def listening(self, session_hash: str, visitor: str, address: str) -> Iterator[None]:
        """
        Count a stream while it is open.

        Raises:
            Busy: The visitor or the address has too many open.
        """
        network = network_of(address)
        if (
            self._of_visitor[visitor] >= MAX_STREAMS_PER_VISITOR
            or self._of_network[network] >= MAX_STREAMS_PER_ADDRESS
        ):
            raise Busy("too many windows are open; close some and reload", 10)
        counted = (
            (self._open, session_hash),
            (self._of_visitor, visitor),
            (self._of_network, network),
        )
        for counter, key in counted:
            counter[key] += 1
        for arrival in self._awaited.get(session_hash, ()):
            arrival.set()
        try:
            yield
        finally:
            for counter, key in counted:
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]
            self._note_closed(session_hash)

    def _note_closed(self, session_hash: str) -> None:
        self._closed_at.pop(session_hash, None)  # so that the newest stand last
        self._closed_at[session_hash] = time.monotonic()
        if len(self._closed_at) > MAX_REMEMBERED:
            del self._closed_at[next(iter(self._closed_at))]

    async def arrived(self, session_hash: str) -> bool:
        """Wait for a window's stream; return whether it came."""
        if self._open[session_hash]:
            return True
        arrival = asyncio.Event()
        waiting = self._awaited.setdefault(session_hash, [])
        waiting.append(arrival)
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                await arrival.wait()
        except TimeoutError:
            return False
        finally:
            waiting.remove(arrival)
            if not waiting:
                self._awaited.pop(session_hash, None)
        return True

    async def gone(self, session_hash: str) -> None:
        """Return as soon as a window that listened has not listened for a while."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._open[session_hash]:
                continue
            closed_at = self._closed_at.get(session_hash, 0.0)
            if time.monotonic() - closed_at > GONE_AFTER_S:
                return
