"""Requests to one website: as slow as it asks, bounded in all ways; its robots.txt and sitemaps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from core.errors import DocumentError, InvalidInput
from retrieval.fetch import Fetcher, Response
from retrieval.links import Section, canonical
from retrieval.load import MAX_BYTES
from retrieval.parser import Parser
from retrieval.robots import EVERYTHING_CLOSED, Robots

MAX_DELAY_S = 5.0  # of a longer Crawl-delay this much is kept
REDIRECTS = (301, 302, 303, 307, 308)
MAX_HOPS = 5  # of robots.txt and sitemaps; pages that moved are queued
MAX_ROBOTS_BYTES = 512 * 1024
MAX_SITEMAP_BYTES = 50 * 2**20  # what sitemaps.org allows
MAX_SITEMAPS = 100


@dataclass(frozen=True, slots=True)
class CrawlLimits:
    """What one crawl may cost at most; at the first limit it ends and nothing is removed."""

    n_pages: int = 5_000
    n_bytes: int = 500 * 2**20
    seconds: float = 3600.0
    page_bytes: int = MAX_BYTES
    page_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Listing:
    """The pages of a section that sitemaps list, in order; incomplete if a sitemap failed."""

    pages: list[str]
    is_complete: bool


class SiteRequests:
    """Gets addresses of one site within its limits; `parser` reads what the site answers."""

    def __init__(
        self,
        start: str,
        fetcher: Fetcher,
        parser: Parser,
        limits: CrawlLimits,
        pause: Callable[[float], None],
    ) -> None:
        self.robots = Robots()  # until `read_robots` has asked
        self._start, self._section = start, Section.of(start)
        self._fetcher, self._parser, self._limits, self._pause = fetcher, parser, limits, pause
        self._n_bytes, self._begun_s = 0, time.monotonic()

    def spent(self, n_pages: int = 0) -> str:
        """Return the limit that is reached, after so many pages; "" while none is."""
        limits, took_s = self._limits, time.monotonic() - self._begun_s
        if n_pages >= limits.n_pages:
            return f"{limits.n_pages} pages"
        if self._n_bytes >= limits.n_bytes:
            return f"{limits.n_bytes / 2**20:.3g} MB"
        return f"{limits.seconds:.0f} s" if took_s >= limits.seconds else ""

    def get(self, url: str, max_bytes: int, media_types: tuple[str, ...] = ()) -> Response:
        """Get one address after the pause that the site asks for; raises DocumentError."""
        if self.robots.delay_s:
            self._pause(min(self.robots.delay_s, MAX_DELAY_S))
        timeout_s = self._limits.page_seconds
        answer = self._fetcher.get(
            url, max_bytes=max_bytes, timeout_s=timeout_s, media_types=media_types
        )
        self._n_bytes += len(answer.body)
        return answer

    def read_robots(self) -> None:
        """
        Read what robots.txt asks and keep to it from now on.

        Raises:
            InvalidInput: It can't be read, or asks to leave the start alone.
        """
        url = urljoin(self._start, "/robots.txt")
        try:
            answer = self._follow(url, MAX_ROBOTS_BYTES)
            # a file that isn't there has an empty body, which asks nothing
            self.robots = self._parser.robots(answer.body)
        except DocumentError as exc:
            raise InvalidInput(f"{url} {exc}; nothing was ingested") from exc
        if answer.status >= 500 or answer.status == 429:
            raise InvalidInput(f"{url} answered {answer.status}; try again later")
        if answer.status in (401, 403):
            self.robots = EVERYTHING_CLOSED
        if not self.robots.may_read(self._start):
            raise InvalidInput(f"{url} asks robots to leave {self._start} alone; nothing was read")

    def list_pages(self) -> Listing:
        """Read the sitemaps that robots.txt names, or the usual one, and those they name."""
        usual = urljoin(self._start, "/sitemap.xml")
        todo = deque(self.robots.sitemaps or [usual])
        read: set[str] = set()
        listed: dict[str, None] = {}
        is_complete = True
        while todo and len(listed) <= self._limits.n_pages and not self.spent():
            url = canonical(todo.popleft(), self._start)
            if url in read or not self._section.shares_host_with(url):
                continue
            if len(read) == MAX_SITEMAPS:
                return Listing(list(listed), is_complete=False)
            read.add(url)
            try:
                answer = self._follow(url, MAX_SITEMAP_BYTES)
                if url == usual and answer.media_type == "text/html":
                    continue  # many sites answer any address with a page
                if answer.status != 200 and answer.status not in (404, 410):
                    raise DocumentError(f"answered {answer.status}")
                sitemap = self._parser.sitemap(answer.body, MAX_SITEMAP_BYTES)
            except DocumentError:
                is_complete = False  # some pages may be listed there only
                continue
            todo += sitemap.maps
            found = (canonical(page, url) for page in sitemap.pages)
            listed |= dict.fromkeys(page for page in found if page and self._section.covers(page))
        return Listing(list(listed), is_complete)

    def _follow(self, url: str, max_bytes: int) -> Response:
        """Get robots.txt or a sitemap, over redirects within the site's host."""
        for _ in range(MAX_HOPS):
            answer = self.get(url, max_bytes)
            target = canonical(answer.location, url) if answer.status in REDIRECTS else ""
            if not target or not self._section.shares_host_with(target):
                return answer
            url = target
        raise DocumentError(f"leads on over more than {MAX_HOPS} redirects")
