"""What the parser process answers with: plain text in plain shapes."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Links:
    """A page's pointers, as written; `noindex` and `nofollow` say what it asks of crawlers."""

    base: str
    canonical: str  # the address that the page calls its own, or ""
    links: tuple[str, ...]
    noindex: bool
    nofollow: bool


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A web page as text, and what it points to."""

    links: Links
    html: str


@dataclass(frozen=True, slots=True)
class Sitemap:
    """The pages that a sitemap lists, and the sitemaps that an index does."""

    pages: list[str]
    maps: list[str]


@dataclass(frozen=True, slots=True)
class Cut:
    """A document's chunks, and for each the text to embed."""

    chunks: list[Chunk]
    texts: list[str]
