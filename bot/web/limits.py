"""Limits how often a visitor and a network may do something; web processes share their counts."""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from uuid import UUID

import redis
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from core.errors import Busy, ConfigurationError
from core.settings import BROKER_PREFIX, Settings

REDIS_TIMEOUT_S = 0.3  # a question never waits longer for its count
REDIS_REST_S = 5.0  # after a failure the memory of this process counts for so long
KINDS = ("questions", "thumbs", "corrections")
log = logging.getLogger("ratchet.limits")


class Meter:
    """
    Counts what people do; its methods block for a round trip to Redis, so call them in a thread.

    While Redis is away this process counts alone, in its memory: a limit then holds for each
    web process instead of for all of them together.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            kind: (_parse(settings, f"limit_{kind}"), _parse(settings, f"limit_{kind}_per_address"))
            for kind in KINDS
        }
        self._sign_ins = _parse(settings, "limit_sign_ins_per_address")
        self._requests = _parse(settings, "limit_requests_per_address")
        self._calls = _parse(settings, "limit_calls")
        self._calls_per_address = _parse(settings, "limit_calls_per_address")
        self._memory = SlidingWindowCounterRateLimiter(MemoryStorage())
        shared = _shared_storage(settings.broker)
        self._shared = SlidingWindowCounterRateLimiter(shared) if shared else None
        self._shared_again_at = 0.0

    def count(self, kind: str, visitor: UUID, address: str) -> None:
        """
        Count one question, thumb or correction.

        Raises:
            Busy: That was one too many, of the visitor or of the address.
        """
        per_visitor, per_address = self._limits[kind]
        self._count(kind, per_visitor, f"v:{visitor}")
        self._count(kind, per_address, f"a:{network_of(address)}")

    def count_sign_in(self, address: str) -> None:
        """Count one try of a password; raises Busy."""
        self._count("sign-ins", self._sign_ins, f"a:{network_of(address)}")

    def count_request(self, address: str) -> None:
        """
        Count one request of any kind; raises Busy. In memory only, so that it never waits.
        """
        for item in self._requests:
            if not self._memory.hit(item, "requests", network_of(address)):
                who = network_of(address)
                raise _too_many("requests", self._wait_s(self._memory, item, "requests", who))

    def count_call(self, visitor: str, address: str) -> None:
        """Count one call of a function of the chat page, in memory; raises Busy."""
        for items, who in (
            (self._calls, f"v:{visitor}"),
            (self._calls_per_address, f"a:{network_of(address)}"),
        ):
            for item in items:
                if not self._memory.hit(item, "calls", who):
                    raise _too_many("clicks", self._wait_s(self._memory, item, "calls", who))

    def _count(self, kind: str, items: list[RateLimitItem], who: str) -> None:
        for item in items:
            limiter = self._limiter()
            try:
                allowed = limiter.hit(item, kind, who)
            except (redis.RedisError, OSError) as exc:
                log.warning("Redis does not count, this process does: %s", exc)
                self._shared_again_at = time.monotonic() + REDIS_REST_S
                limiter = self._memory
                allowed = limiter.hit(item, kind, who)
            if not allowed:
                raise _too_many(kind, self._wait_s(limiter, item, kind, who))

    def _limiter(self) -> SlidingWindowCounterRateLimiter:
        if self._shared is None or time.monotonic() < self._shared_again_at:
            return self._memory
        return self._shared

    @staticmethod
    def _wait_s(
        limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, kind: str, who: str
    ) -> int:
        """Return in how many seconds the next one is taken, at least one."""
        try:
            reset_at = limiter.get_window_stats(item, kind, who).reset_time
        except (redis.RedisError, OSError):
            return item.get_expiry()
        return max(1, min(item.get_expiry(), math.ceil(reset_at - time.time())))


def network_of(address: str) -> str:
    """
    Return what counts as one address: an IPv4 address, or the /56 that a home line is given.

    >>> network_of("203.0.113.7"), network_of("2001:db8:1:2345:3:4:5:6"), network_of("")
    ('203.0.113.7', '2001:db8:1:2300::', 'unknown')
    """
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address or "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 56), strict=False).network_address)
    return str(ip)


def _too_many(kind: str, wait_s: int) -> Busy:
    return Busy(f"that was too many {kind} in a short time; try again in {wait_s} s", wait_s)


def _parse(settings: Settings, name: str) -> list[RateLimitItem]:
    given = getattr(settings, name)
    try:
        return parse_many(given)
    except ValueError as exc:
        raise ConfigurationError(
            f"RATCHET_{name.upper()} is {given!r}; write for example 20/minute;300/hour"
        ) from exc


def _shared_storage(broker: str) -> Storage | None:
    """Return the broker's Redis as a store of counts; None when the broker is another kind."""
    if not broker.startswith("redis"):
        return None
    storage = storage_from_string(
        broker.replace("redis+socket://", "redis+unix://"),
        key_prefix=f"{BROKER_PREFIX}limits",
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    assert isinstance(storage, Storage)  # an async one has another scheme
    return storage
