"""What a web page or a sitemap points to, and a page's bytes as UTF-8; pure."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin
from xml.etree import ElementTree

import httpx
import trafilatura

from core.errors import DocumentError

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Links:
    """A page's pointers, as written; `noindex` and `nofollow` are its wishes to robots."""

    base: str
    canonical: str  # the address that the page calls its own, or ""
    links: tuple[str, ...]
    noindex: bool
    nofollow: bool


def is_url(source: str) -> bool:
    """Whether a source of articles is meant as a website, not as a path."""
    return source.lower().startswith(("http://", "https://"))


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


def read_links(html: str) -> Links:
    """Return what a page points to; a page that can't be parsed points nowhere."""
    tree = trafilatura.load_html(html)
    if tree is None:
        return Links("", "", (), False, False)
    wishes = ",".join(
        meta.get("content", "")
        for meta in tree.iter("meta")
        if meta.get("name", "").lower() in ("robots", "ratchet")
    ).lower()
    own = (e.get("href") for e in tree.iter("link") if e.get("rel", "").lower() == "canonical")
    return Links(
        base=next((e.get("href") for e in tree.iter("base") if e.get("href")), ""),
        canonical=next((href for href in own if href), ""),
        links=tuple(
            element.get("href")
            for element in tree.iter("a")
            if element.get("href") and "nofollow" not in element.get("rel", "").lower()
        ),
        noindex="noindex" in wishes or "none" in wishes,
        nofollow="nofollow" in wishes or "none" in wishes,
    )


def read_sitemap(raw: bytes, max_bytes: int) -> tuple[list[str], list[str]]:
    """
    Return (pages, further sitemaps) that a sitemap or an index of sitemaps lists.

    Raises:
        DocumentError: It unpacks to more than `max_bytes`, or isn't XML.
    """
    if not raw:
        return [], []
    if raw.startswith(b"\x1f\x8b"):
        raw = _unpacked(raw, max_bytes)
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise DocumentError("isn't a sitemap")  # none has these; they can blow up a parser
    try:
        root = ElementTree.fromstring(raw)  # noqa: S314 - without entities it is harmless
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise DocumentError("isn't a sitemap") from exc
    kind = root.tag.rsplit("}", 1)[-1]
    found = [
        place.text.strip()
        for entry in root
        for place in entry
        if place.tag.rsplit("}", 1)[-1] == "loc" and place.text
    ]
    return (found, []) if kind == "urlset" else ([], found if kind == "sitemapindex" else [])


def as_utf8(raw: bytes, charset: str) -> bytes:
    """Return a page's bytes as UTF-8: by its header, by what it is, by its own word, in turn."""
    declared = _META_CHARSET.search(raw[:4096])
    guesses = (charset, "utf-8", declared[1].decode() if declared else "", "cp1252")
    for guess in filter(None, guesses):
        try:
            return raw.decode(guess).encode()
        except (UnicodeError, LookupError):
            continue
    return raw.decode("utf-8", "replace").encode()


def _unpacked(raw: bytes, max_bytes: int) -> bytes:
    try:
        body = zlib.decompressobj(wbits=31).decompress(raw, max_bytes + 1)
    except zlib.error as exc:
        raise DocumentError("is a damaged gzip file") from exc
    if len(body) > max_bytes:
        raise DocumentError(f"unpacks to more than {max_bytes / 2**20:.3g} MB")
    return body
