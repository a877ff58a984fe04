"""Web addresses: which text is one, and one spelling for each; pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

import httpx


def is_url(source: str) -> bool:
    """Whether a source of articles is meant as a website, not as a path."""
    return source.lower().startswith(("http://", "https://"))


def without_query(source: str) -> str:
    """
    Return a source as it may be noted: what follows a web address's ? may be somebody's key.

    >>> without_query("https://example.com/help?token=hidden")
    'https://example.com/help'
    """
    if not is_url(source):
        return source
    return canonical(source, source).partition("?")[0] or "an address that can't be noted"


def canonical(link: str, base: str) -> str:
    """
    Return where a link leads, in one spelling: absolute, without fragment, host in lower case.

    "" when it is no web address, or one with a name or password in it.

    >>> canonical("../Prices?size=1#small", "https://Example.com:443/help/a")
    'https://example.com/Prices?size=1'
    """
    try:
        url = httpx.URL(urljoin(base, link.strip())).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError):
        return ""
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        return ""
    return f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode().removesuffix('?')}"


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a website at and below an address: of /help/index.html all below /help."""

    origin: tuple[str, str, int | None]
    folder: str

    @classmethod
    def of(cls, url: str) -> Section:
        """Return the section that begins at an address, which `canonical` has written."""
        path = httpx.URL(url).path
        last = path.rsplit("/", 1)[-1]
        return cls(_origin(url), (path[: -len(last)] if "." in last else path).rstrip("/") or "/")

    def shares_host_with(self, url: str) -> bool:
        """Whether an address has the same scheme, host and port."""
        return _origin(url) == self.origin

    def covers(self, url: str) -> bool:
        """Whether an address lies at or below where the section begins."""
        path = httpx.URL(url).path
        below = path == self.folder or path.startswith(self.folder.rstrip("/") + "/")
        return below and self.shares_host_with(url)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port
