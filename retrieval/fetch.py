"""One bounded GET: so many bytes, so many seconds, and on demand public addresses only."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

import httpx

from core.errors import DocumentError, NotAllowed

USER_AGENT = "Ratchet/1.0 (reads help articles for a support chatbot)"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0  # between two pieces of an answer; `fetch` bounds the whole


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered; `body` is empty for a redirect, an error, an unwanted kind."""

    status: int
    media_type: str  # lower case, without parameters
    charset: str  # "" when not said
    location: str  # of a redirect
    robots_tag: str  # the header X-Robots-Tag in lower case
    body: bytes


def make_client(*, public_only: bool) -> httpx.Client:
    """Return a client that follows no redirect by itself; close it when done."""
    return httpx.Client(
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, identity"},
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        transport=_PublicOnly() if public_only else None,
    )


def fetch(
    client: httpx.Client,
    url: str,
    *,
    max_bytes: int,
    timeout_s: float,
    media_types: Collection[str] = (),
) -> Response:
    """
    Get `url`; with `media_types` given, the bodies of others are not downloaded.

    Raises:
        DocumentError: No answer, one that broke off, took over `timeout_s` or has more than
            `max_bytes`; the text says which and suits "URL …".
        NotAllowed: The client may reach public addresses only and this isn't one.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with client.stream("GET", url) as answer:
            kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
            wanted = answer.status_code == 200 and (not media_types or kind in media_types)
            return Response(
                status=answer.status_code,
                media_type=kind,
                charset=answer.charset_encoding or "",
                location=answer.headers.get("location", ""),
                robots_tag=answer.headers.get("x-robots-tag", "").lower(),
                body=_body(answer, max_bytes, deadline_s) if wanted else b"",
            )
    except httpx.TimeoutException as exc:
        raise DocumentError("did not answer in time") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise DocumentError(f"can't be reached ({type(exc).__name__})") from exc


def _body(answer: httpx.Response, max_bytes: int, deadline_s: float) -> bytes:
    too_large = f"has more than {max_bytes / 2**20:.3g} MB"
    said = answer.headers.get("content-length", "")
    if said.isdecimal() and int(said) > max_bytes:
        raise DocumentError(too_large)
    body = bytearray()
    for piece in answer.iter_bytes():  # unpacked: what counts is what we would hold
        body += piece
        if len(body) > max_bytes:
            raise DocumentError(too_large)
        if time.monotonic() > deadline_s:
            raise httpx.ReadTimeout("the whole answer took too long")
    return bytes(body)


class _PublicOnly(httpx.HTTPTransport):
    """
    Connects to public addresses only, whatever a name resolves to.

    The address that was checked is the one connected to, so a name that changes its mind
    between the check and the connection gains nothing.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        addresses = public_addresses(host, request.url.port or 443)
        request.extensions = {**request.extensions, "sni_hostname": host}
        url = request.url
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            try:
                return super().handle_request(request)
            except httpx.ConnectError:
                continue  # the next address of the same name
        request.url = url.copy_with(host=addresses[-1])
        return super().handle_request(request)


def public_addresses(host: str, port: int) -> list[str]:
    """
    Return the addresses of `host`, all of them public.

    Raises:
        NotAllowed: One is of this machine or of a private network.
        httpx.ConnectError: The name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise httpx.ConnectError(f"{host} is unknown") from exc
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(_is_public(address) for address in addresses):
        raise NotAllowed(
            f"{host} lies in a private network, which the desk may not read; "
            "run `ratchet ingest` on the server for it"
        )
    return addresses


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # a private IPv4 address may be spelt inside an IPv6 one
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is None and ip in ipaddress.IPv6Network("64:ff9b::/96"):
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None:
            return _is_public(str(embedded))
    return ip.is_global and not ip.is_multicast
