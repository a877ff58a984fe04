"""Bounds how many answers are written at once: for a visitor, for a network, and in all."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

from bot.web.limits import network_of
from core.errors import Busy
from core.settings import Settings

LOOK_EVERY_S = 1.0  # how often a waiting page is told its place
FIRST_GUESS_S = 5.0  # of an answer's length, before any was written
WEIGHT_OF_NEWEST = 0.2


class Admission:
    """
    Lets questions in to be answered; those beyond `max_answers` wait in the order they came.

    It counts for one web process and is used from its event loop only.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._of_visitor: Counter[UUID] = Counter()
        self._of_address: Counter[str] = Counter()
        self._waiting: list[Ticket] = []
        self._n_seated = 0
        self._n_tickets = 0
        self._answer_s = FIRST_GUESS_S

    def enter(self, visitor: UUID, address: str) -> Ticket:
        """
        Count a question and return its ticket, which must be left whatever comes of it.

        Raises:
            Busy: This visitor or this address has enough answers at once, or too many wait.
        """
        network, settings = network_of(address), self._settings
        if self._of_visitor[visitor] >= settings.max_answers_per_visitor:
            raise Busy("your answers before this one are still being written; wait for them", 2)
        if self._of_address[network] >= settings.max_answers_per_address:
            raise self._busy("too many answers are being written for your network just now")
        most = settings.max_answers + settings.max_answers_waiting
        if self._n_tickets >= most:  # those that wait for their window to listen included
            raise self._busy("very many people are asking just now")
        ticket = Ticket(self, visitor, network)
        self._of_visitor[visitor] += 1
        self._of_address[network] += 1
        self._n_tickets += 1
        return ticket

    def _busy(self, why: str) -> Busy:
        rounds = 1 + len(self._waiting) // self._settings.max_answers
        wait_s = max(1, math.ceil(rounds * self._answer_s))
        return Busy(f"{why}; try again in {wait_s} s", wait_s)

    def _fill_seats(self) -> None:
        while self._waiting and self._n_seated < self._settings.max_answers:
            self._waiting.pop(0)._seat()
            self._n_seated += 1

    def _leave(self, ticket: Ticket) -> None:
        self._n_tickets -= 1
        self._of_visitor[ticket.visitor] -= 1
        self._of_address[ticket.network] -= 1
        self._of_visitor, self._of_address = +self._of_visitor, +self._of_address  # without zeros
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket.seated_at is not None:
            self._n_seated -= 1
            took_s = time.monotonic() - ticket.seated_at
            self._answer_s += WEIGHT_OF_NEWEST * (took_s - self._answer_s)
        self._fill_seats()


class Ticket:
    """One question that was let in; `seated_at` is when its answer could begin."""

    def __init__(self, admission: Admission, visitor: UUID, network: str) -> None:
        self.visitor, self.network = visitor, network
        self.seated_at: float | None = None  # monotonic, s
        self._admission = admission
        self._called = asyncio.Event()

    async def places(self) -> AsyncIterator[int]:
        """Wait until the answer may begin; yield every second how many questions are before it."""
        line = self._admission._waiting
        line.append(self)
        self._admission._fill_seats()
        while not self._called.is_set():
            yield line.index(self)
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._called.wait()
            except TimeoutError:
                continue

    def leave(self) -> None:
        """Make room for the next question; the answer is over, or was never begun."""
        self._admission._leave(self)

    def _seat(self) -> None:
        self.seated_at = time.monotonic()
        self._called.set()
