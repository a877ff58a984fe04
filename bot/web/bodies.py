"""Request bodies with bounds: beyond so many bytes or seconds they are refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive

from core.errors import RatchetError

PIECE_TIMEOUT_S = 15.0  # between two pieces; a sender that drips holds a connection


class BodyRefused(RatchetError):
    """A body that is too large (413) or too slow (408)."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(slots=True)
class CountedBody:
    """An ASGI `receive` that gives the app a body as long as it keeps within its bounds."""

    receive: Receive
    max_bytes: int
    timeout_s: float  # for the whole of it
    n_bytes: int = 0
    deadline: float = 0.0
    ended: bool = False
    refused: BodyRefused | None = None

    async def __call__(self) -> Message:
        """
        Return the next message.

        After a refusal the reader is told that the client is gone, so that it stops reading.
        """
        if self.ended:
            return await self.receive()  # only the disconnect is left to come
        try:
            message = await self._next()
        except BodyRefused as exc:
            self.refused = exc
            return {"type": "http.disconnect"}
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        now = asyncio.get_running_loop().time()
        self.deadline = self.deadline or now + self.timeout_s
        try:
            async with asyncio.timeout(min(PIECE_TIMEOUT_S, max(0.0, self.deadline - now))):
                message = await self.receive()
        except TimeoutError as exc:
            raise BodyRefused("the request's body did not come in time", 408) from exc
        self.n_bytes += len(message.get("body", b""))
        if self.n_bytes > self.max_bytes:
            raise BodyRefused("that is too much at once", 413)
        return message

    async def read(self) -> bytes:
        """
        Return the whole body.

        Raises:
            BodyRefused: It is too large, too slow, or its sender left.
        """
        pieces = []
        while not self.ended:
            message = await self()
            if self.refused:
                raise self.refused
            if message["type"] == "http.disconnect":
                raise BodyRefused("the sender left", 400)
            pieces.append(message.get("body", b""))
        return b"".join(pieces)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return an ASGI `receive` that gives this body, then waits for the disconnect."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
