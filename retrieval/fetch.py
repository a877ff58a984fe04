"""One bounded GET: bytes, one deadline over all of it, and on demand public addresses only."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import httpx

from core.errors import DocumentError, NotAllowed
from retrieval.addresses import is_public

USER_AGENT = "Ratchet/1.0 (reads help articles for a support chatbot)"
CONNECT_TIMEOUT_S = 5.0  # then the next address of the same name
READ_TIMEOUT_S = 15.0  # between two pieces of an answer; `get` bounds the whole
# One layer of packing at most: each more multiplies what a kilobyte unfolds to.
ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered; `body` is empty for a redirect, an error, an unwanted kind."""

    status: int
    media_type: str  # lower case, without parameters
    charset: str  # "" when not said
    location: str  # of a redirect
    robots_tag: str  # the header X-Robots-Tag in lower case
    body: bytes


class Fetcher:
    """
    Gets addresses one after the other, following no redirect and keeping no cookie.

    For one thread at a time, outside of a running event loop; use it as a context manager.
    """

    def __init__(self, *, public_only: bool) -> None:
        # One loop for all requests: connections stay open between them.
        self._loop = _Loop()
        self._runner = asyncio.Runner(loop_factory=lambda: self._loop)
        self._client = httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, identity"},
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=_PublicOnly() if public_only else None,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def get(
        self, url: str, *, max_bytes: int, timeout_s: float, media_types: Collection[str] = ()
    ) -> Response:
        """
        Get `url`; with `media_types` given, the bodies of others are not downloaded.

        Raises:
            DocumentError: No answer, one that broke off, took over `timeout_s` from the look-up
                of the name to its last byte, is packed twice or has more than `max_bytes`; the
                text says which and suits "URL …".
            NotAllowed: Only public addresses may be reached and this isn't one.
        """
        try:
            return self._runner.run(self._get(url, max_bytes, timeout_s, media_types))
        except (TimeoutError, httpx.TimeoutException) as exc:
            self._loop.abort_connections()
            raise DocumentError("did not answer in time") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise DocumentError(f"can't be reached ({type(exc).__name__})") from exc

    async def _get(
        self, url: str, max_bytes: int, timeout_s: float, media_types: Collection[str]
    ) -> Response:
        async with asyncio.timeout(timeout_s), self._client.stream("GET", url) as answer:
            said = answer.headers.get("content-type", "")
            kind = said.split(";")[0].strip().lower()
            charset = _CHARSET.search(said)
            wanted = answer.status_code == 200 and (not media_types or kind in media_types)
            return Response(
                status=answer.status_code,
                media_type=kind,
                charset=charset[1] if charset else "",
                location=answer.headers.get("location", ""),
                robots_tag=answer.headers.get("x-robots-tag", "").lower(),
                body=await _body(answer, max_bytes) if wanted else b"",
            )


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    """Read and unpack; never holds more than `max_bytes` and the piece that has come last."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in ENCODINGS:
        raise DocumentError(f"is packed as {encoding[:40]!r}; only gzip and deflate are unpacked")
    too_large = DocumentError(f"has more than {max_bytes / 2**20:.3g} MB")
    said = answer.headers.get("content-length", "")
    if said.isdecimal() and int(said) > max_bytes:
        raise too_large
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding not in ("", "identity") else None
    body, n_received = bytearray(), 0
    async for piece in answer.aiter_raw():
        n_received += len(piece)  # packed bytes may unfold to nothing, without end
        body += _unpacked(unpacker, piece, max_bytes + 1 - len(body)) if unpacker else piece
        if len(body) > max_bytes or n_received > max_bytes:
            raise too_large
    if unpacker and body and not unpacker.eof:
        raise DocumentError("is packed, and its end is missing")
    return bytes(body)


def _unpacked(unpacker: Any, piece: bytes, max_bytes: int) -> bytes:
    """Return what a piece unfolds to, at most `max_bytes`, which is one more than is allowed."""
    try:
        unpacked: bytes = unpacker.decompress(piece, max_bytes)
    except zlib.error as exc:
        raise DocumentError("is packed, and damaged") from exc
    return unpacked


class _PublicOnly(httpx.AsyncHTTPTransport):
    """
    Connects to public addresses only, whatever a name resolves to.

    The address that was checked is the one connected to, so a name that changes its mind
    between the check and the connection gains nothing.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        addresses = await public_addresses(url.host, url.port or 443)
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await super().handle_async_request(request)
        request.url = url.copy_with(host=addresses[-1])
        return await super().handle_async_request(request)


async def public_addresses(host: str, port: int) -> list[str]:
    """
    Return the addresses of `host`, all of them public.

    Raises:
        NotAllowed: One is of this machine or of a private network.
        httpx.ConnectError: The name is unknown.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as exc:
        raise httpx.ConnectError(f"{host} is unknown") from exc
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(map(is_public, addresses)):
        raise NotAllowed(
            f"{host} lies in a private network, which the desk may not read; "
            "run `ratchet ingest` on the server for it"
        )
    return addresses


class _Loop(asyncio.SelectorEventLoop):
    """
    An event loop that waits for no look-up when it is closed.

    The resolver can't be interrupted, and asyncio's own pool of threads is joined at the end:
    a name server that keeps silent would hold us beyond every deadline.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: list[asyncio.Transport] = []

    async def create_connection(self, *place: Any, **options: Any) -> Any:
        """Connect and remember it: httpcore leaves one open whose handshake was cancelled."""
        transport, protocol = await super().create_connection(*place, **options)
        still_open = [each for each in self._connections if not each.is_closing()]
        self._connections = [*still_open, transport]
        return transport, protocol

    def abort_connections(self) -> None:
        """Close every connection at once; the next request opens a new one."""
        for transport in self._connections:
            transport.abort()

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Look a name up in a thread that is left alone once nobody waits for it."""
        found: asyncio.Future[Any] = self.create_future()

        def look_up() -> None:
            try:
                result, error = socket.getaddrinfo(host, port, **hints), None
            except (OSError, ValueError) as exc:
                result, error = [], exc
            with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                self.call_soon_threadsafe(_settle, found, result, error)

        threading.Thread(target=look_up, name="look-up", daemon=True).start()
        return await found


def _settle(found: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if found.done():  # cancelled at the deadline
        return
    if error:
        found.set_exception(error)
    else:
        found.set_result(result)
