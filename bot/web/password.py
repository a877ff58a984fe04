"""Checks the admin's password; a network that was wrong before is answered later each time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bot.web.limits import network_of
from core.errors import Busy, NotAllowed
from core.settings import Settings

FREE_FAILURES = 4  # the first three wrong ones are answered at once
FIRST_DELAY_S, MAX_DELAY_S = 0.25, 8.0
FORGET_AFTER_S = 15 * 60
MAX_WAITING = 20  # refusals of one address that are kept waiting at once
MAX_ADDRESSES = 10_000  # remembered at once; the one not seen longest is forgotten first

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Address:
    """What is remembered of one address."""

    n_failures: int = 0
    failed_at: float = 0.0  # monotonic, s
    n_waiting: int = 0


class PasswordCheck:
    """
    Compares with the one password; used from one event loop.

    A wrong try is answered later and later, the right one at once, whatever others at the same
    address typed before: nobody is locked out. Hashing has threads of its own, so that a flood
    of tries takes none from the pages.
    """

    def __init__(self, settings: Settings, sleep: Sleep = asyncio.sleep) -> None:
        self._salt = secrets.token_bytes(16)
        self._hash = self._hashed(settings.secret("admin-password"))
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="password")
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def _hashed(self, password: str) -> bytes:
        return hashlib.scrypt(
            password.encode("utf-8", "replace"), salt=self._salt, n=2**14, r=8, p=1
        )

    async def check(self, password: str, address: str) -> None:
        """
        Do nothing when it is the password; takes about 50 ms.

        Raises:
            NotAllowed: It is another one; said after a while that grows with each.
            Busy: It is another one, and many of this address wait already.
        """
        loop, known = asyncio.get_running_loop(), self._of(network_of(address))
        given = await loop.run_in_executor(self._threads, self._hashed, password)
        if hmac.compare_digest(given, self._hash):
            known.n_failures = 0
            return
        known.n_failures += 1
        known.failed_at = time.monotonic()
        if known.n_waiting >= MAX_WAITING:
            raise Busy("too many sign-ins at once; try again in 10 s", 10)
        known.n_waiting += 1
        try:
            await self._sleep(delay_s(known.n_failures))
        finally:
            known.n_waiting -= 1
        raise NotAllowed("that is not the password")

    def _of(self, network: str) -> _Address:
        known = self._addresses.setdefault(network, _Address())
        self._addresses.move_to_end(network)
        if time.monotonic() - known.failed_at > FORGET_AFTER_S:
            known.n_failures = 0
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        return known

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def delay_s(n_failures: int) -> float:
    """
    Return how long the answer to the n-th wrong try of an address waits.

    >>> [delay_s(n) for n in (1, 3, 4, 6, 20)]
    [0.0, 0.0, 0.25, 1.0, 8.0]
    """
    if n_failures < FREE_FAILURES:
        return 0.0
    return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(n_failures - FREE_FAILURES, 10))
