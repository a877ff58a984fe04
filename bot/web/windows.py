"""Bounds the browser windows in Gradio's queue, and the answers that wait in it for each."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import gradio as gr

from bot.web.limits import network_of
from core.errors import Busy

MAX_PER_VISITOR, MAX_PER_NETWORK, MAX_IN_ALL = 12, 150, 1500
MAX_UNFETCHED = 8  # answers of one window to calls; the desk asks for four at once as it opens
IDLE_S = 20.0  # a window without a stream for so long fetches nothing any more
log = logging.getLogger("ratchet.web")


@dataclass(slots=True)
class _Window:
    """One browser window, by its bound session hash."""

    visitor: str
    network: str
    n_streams: int = 0
    used_at: float = 0.0  # monotonic, s


class Windows:
    """
    The windows of one page; used from the event loop only.

    Gradio keeps a queue of messages for each session hash that a call names, drops the oldest
    of 2,000 while somebody may still use it, and its loop ends for good when it sends to one
    that was dropped. So windows are counted before, forgotten when they are idle, and sending
    to a forgotten one does nothing.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        self._queue: Any = blocks._queue
        self._windows: dict[str, _Window] = {}
        self._of_visitor: Counter[str] = Counter()
        self._of_network: Counter[str] = Counter()
        send = self._queue.send_message

        def send_if_known(event: Any, message: Any) -> None:
            if event.session_hash in self._queue.pending_messages_per_session:
                send(event, message)

        vars(self._queue)["send_message"] = send_if_known

    def call(self, session_hash: str, visitor: str, address: str) -> None:
        """
        Count a call of a window.

        Raises:
            Busy: Too many windows are open, or this one fetches no answers.
        """
        window = self._windows.get(session_hash) or self._open(session_hash, visitor, address)
        unfetched = self._queue.pending_event_ids_session.get(session_hash, ())
        if len(unfetched) >= MAX_UNFETCHED:
            raise Busy("this window has calls that nobody fetches; reload the page", 10)
        window.used_at = time.monotonic()

    def _open(self, session_hash: str, visitor: str, address: str) -> _Window:
        network = network_of(address)
        if self._is_full(visitor, network):
            self.forget_idle()
        if self._is_full(visitor, network):
            raise Busy("too many windows are open; close some, then try again in 20 s", 20)
        window = self._windows[session_hash] = _Window(visitor, network)
        self._of_visitor[visitor] += 1
        self._of_network[network] += 1
        return window

    def _is_full(self, visitor: str, network: str) -> bool:
        return (
            self._of_visitor[visitor] >= MAX_PER_VISITOR
            or self._of_network[network] >= MAX_PER_NETWORK
            or len(self._windows) >= MAX_IN_ALL
        )

    def is_known(self, session_hash: str) -> bool:
        """Whether a window waits for anything; to the stream of another Gradio answers badly."""
        return (
            session_hash in self._windows
            and session_hash in self._queue.pending_messages_per_session
        )

    def stream_opened(self, session_hash: str) -> None:
        """Note that a window listens."""
        self._windows[session_hash].n_streams += 1

    def stream_closed(self, session_hash: str) -> None:
        """Note that it does not any more."""
        if window := self._windows.get(session_hash):
            window.n_streams -= 1
            window.used_at = time.monotonic()

    def forget_idle(self, idle_s: float = IDLE_S) -> int:
        """Forget windows that have not listened for a while, with what waited; return how many."""
        too_old = time.monotonic() - idle_s
        idle = [
            session_hash
            for session_hash, window in self._windows.items()
            if not window.n_streams and window.used_at < too_old
        ]
        for session_hash in idle:
            self._forget(session_hash)
        return len(idle)

    def _forget(self, session_hash: str) -> None:
        window = self._windows.pop(session_hash)
        self._of_visitor[window.visitor] -= 1
        self._of_network[window.network] -= 1
        self._of_visitor, self._of_network = +self._of_visitor, +self._of_network
        if session_hash in self._queue.pending_messages_per_session:
            del self._queue.pending_messages_per_session[session_hash]
        self._queue.pending_event_ids_session.pop(session_hash, None)

    @property
    def is_stopped(self) -> bool:
        """Whether Gradio's loop has ended: then no call is answered until a restart."""
        return bool(self._queue.stopped)
