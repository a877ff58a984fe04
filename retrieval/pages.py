"""What a web page or a sitemap says, from its bytes; runs in the process of `parser_main`."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

import trafilatura

from core.errors import DocumentError
from retrieval.parsed import Links

MAX_LINKS = 20_000  # of one page; a crawl reads 5,000 pages
MAX_LINK_CHARS = 2048
MAX_LISTED = 50_000  # what sitemaps.org allows in one sitemap
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)


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
    links = (
        element.get("href")
        for element in tree.iter("a")
        if "nofollow" not in element.get("rel", "").lower()
    )
    return Links(
        base=next(_usable(e.get("href") for e in tree.iter("base")), ""),
        canonical=next(_usable(own), ""),
        links=tuple(link for link, _ in zip(_usable(links), range(MAX_LINKS), strict=False)),
        noindex="noindex" in wishes or "none" in wishes,
        nofollow="nofollow" in wishes or "none" in wishes,
    )


def _usable(links: Iterable[str | None]) -> Iterator[str]:
    return (link for link in links if link and len(link) <= MAX_LINK_CHARS)


def read_sitemap(raw: bytes, max_bytes: int) -> tuple[list[str], list[str]]:
    """
    Return (pages, further sitemaps) that a sitemap or an index of sitemaps lists.

    Raises:
        DocumentError: It unpacks to more than `max_bytes`, isn't XML or lists over 50,000.
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
    if len(found) > MAX_LISTED:
        raise DocumentError(f"lists {len(found)} addresses; at most {MAX_LISTED} may stand in one")
    return (found, []) if kind == "urlset" else ([], found if kind == "sitemapindex" else [])


def as_utf8(raw: bytes, charset: str) -> bytes:
    """Decode a page by its header, as UTF-8, by its <meta> or as cp1252; return it as UTF-8."""
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
