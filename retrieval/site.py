"""A website → its pages: by sitemap, else by links; polite, same host only, bounded in all ways."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from core.errors import DocumentError, InvalidInput
from retrieval.fetch import Fetcher, Response
from retrieval.links import canonical
from retrieval.load import MAX_BYTES, MEDIA_TYPES, Problem
from retrieval.parser import Parser
from retrieval.robots import EVERYTHING_CLOSED, Robots

MAX_DELAY_S = 5.0  # of a longer Crawl-delay this much is kept
REDIRECTS = (301, 302, 303, 307, 308)
MAX_HOPS = 5  # of robots.txt and sitemaps; pages that moved are queued
MAX_ROBOTS_BYTES = 512 * 1024
MAX_SITEMAP_BYTES = 50 * 2**20  # what sitemaps.org allows
MAX_SITEMAPS = 100
# FAQ tables are told from other tables by a person, so a site's CSV files are left alone.
SUFFIXES = {
    kind: suffix for suffix, kind in MEDIA_TYPES.items() if suffix not in (".csv", ".jsonl")
}
SUFFIXES |= {"text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one crawl may cost at most; at the first limit it ends and nothing is removed."""

    n_pages: int = 5_000
    n_bytes: int = 500 * 2**20
    seconds: float = 3600.0
    page_bytes: int = MAX_BYTES
    page_seconds: float = 30.0


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came; text kinds are UTF-8, `suffix` tells the kind like a file's."""

    uri: str
    suffix: str
    raw: bytes


class Site:
    """
    The pages at and below an address; iterate `pages()` once, then ask what is gone.

    After it `complete` says whether every page was seen, `gone` holds addresses that answered
    404 or 410, `n_skipped` counts what is no article: pictures, other hosts, what robots.txt
    or the page itself asks to leave alone. What servers send is parsed by `parser` only.
    """

    def __init__(
        self,
        url: str,
        parser: Parser,
        *,
        public_only: bool = False,
        limits: Limits | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.start = _start_url(url)
        self.complete, self.gone, self.n_skipped = True, set[str](), 0
        self.n_seen, self.n_waiting = 0, 1
        self._limits, self._pause, self._public_only = limits or LIMITS, pause, public_only
        self._parser = parser
        self._origin = _origin(self.start)
        self._folder = _folder(self.start)
        self._robots = Robots()
        self._taken: set[str] = set()  # addresses that wait or were visited
        self._settled: set[str] = set()  # read under this address whatever the page calls itself
        self._n_bytes, self._begun_s, self._follows_links = 0, time.monotonic(), False

    def covers(self, url: str) -> bool:
        """Whether an address lies on this site: same origin, at or below where it starts."""
        if _origin(url) != self._origin:
            return False
        path = httpx.URL(url).path
        return path == self._folder or path.startswith(self._folder.rstrip("/") + "/")

    def pages(self) -> Iterator[Page | Problem]:
        """
        Yield each page once, and a problem for each that failed.

        Raises:
            InvalidInput: The start itself can't be read; the text says why and what to do.
            NotAllowed: The address is not public and only public ones may be read.
        """
        with Fetcher(public_only=self._public_only) as fetcher:
            self._read_robots(fetcher)
            listed = self._listed(fetcher)
            self._follows_links = not listed
            todo = deque(listed or [self.start])
            self._taken.update(todo)
            while todo:
                if spent := self._spent():
                    self.complete = False
                    yield Problem(self.start, f"stopped after {spent}; nothing was removed")
                    return
                url = todo.popleft()
                self.n_seen, self.n_waiting = self.n_seen + 1, len(todo)
                try:
                    page = self._visit(fetcher, url, todo)
                except DocumentError as exc:
                    # what only this page links to is not known now
                    self.complete = self.complete and not self._follows_links
                    yield Problem(url, f"{url} {exc}; it is left as it was")
                    continue
                if page:
                    yield page

    def _spent(self) -> str:
        limits, took_s = self._limits, time.monotonic() - self._begun_s
        if self.n_seen >= limits.n_pages:
            return f"{limits.n_pages} pages"
        if self._n_bytes >= limits.n_bytes:
            return f"{limits.n_bytes / 2**20:.3g} MB"
        return f"{limits.seconds:.0f} s" if took_s >= limits.seconds else ""

    def _read_robots(self, fetcher: Fetcher) -> None:
        url = urljoin(self.start, "/robots.txt")
        try:
            answer = self._get(fetcher, url, MAX_ROBOTS_BYTES)
            # a file that isn't there has an empty body, which asks nothing
            self._robots = self._parser.robots(answer.body)
        except DocumentError as exc:
            raise InvalidInput(f"{url} {exc}; nothing was ingested") from exc
        if answer.status >= 500 or answer.status == 429:
            raise InvalidInput(f"{url} answered {answer.status}; try again later")
        if answer.status in (401, 403):
            self._robots = EVERYTHING_CLOSED
        if not self._robots.may_read(self.start):
            raise InvalidInput(f"{url} asks robots to leave {self.start} alone; nothing was read")

    def _listed(self, fetcher: Fetcher) -> list[str]:
        """Return the addresses that sitemaps list within this site, in order, each once."""
        usual = urljoin(self.start, "/sitemap.xml")
        todo = deque(self._robots.sitemaps or [usual])
        seen: set[str] = set()
        listed: dict[str, None] = {}
        while todo and len(listed) <= self._limits.n_pages and not self._spent():
            url = canonical(todo.popleft(), self.start)
            if url in seen or _origin(url) != self._origin:
                continue
            if len(seen) == MAX_SITEMAPS:
                self.complete = False
                break
            seen.add(url)
            try:
                answer = self._get(fetcher, url, MAX_SITEMAP_BYTES)
                if url == usual and answer.media_type == "text/html":
                    continue  # many sites answer any address with a page
                if answer.status != 200 and answer.status not in (404, 410):
                    raise DocumentError(f"answered {answer.status}")
                sitemap = self._parser.sitemap(answer.body, MAX_SITEMAP_BYTES)
            except DocumentError:
                self.complete = False  # some pages may be listed there only
                continue
            todo += sitemap.maps
            found = (canonical(page, url) for page in sitemap.pages)
            listed |= dict.fromkeys(page for page in found if page and self.covers(page))
        return list(listed)

    def _visit(self, fetcher: Fetcher, url: str, todo: deque[str]) -> Page | None:
        """Read one page and queue what it links to; None when it is no article."""
        if not self._robots.may_read(url):
            self.n_skipped += 1
            return None
        answer = self._get_once(fetcher, url, self._limits.page_bytes, tuple(SUFFIXES))
        if answer.status in (404, 410):
            if url == self.start:
                raise InvalidInput(f"{url} answered {answer.status}; check the address")
            self.gone.add(url)
            return None
        if answer.status in REDIRECTS:
            self._redirected(url, canonical(answer.location, url), todo)
            return None
        if answer.status != 200:
            raise DocumentError(f"answered {answer.status}")
        suffix = SUFFIXES.get(answer.media_type)
        if suffix is None or "noindex" in answer.robots_tag:
            self.n_skipped += 1
            return None
        if suffix != ".html":
            return Page(url, suffix, answer.body)
        return self._read_page(url, answer, todo)

    def _redirected(self, url: str, target: str, todo: deque[str]) -> None:
        """Queue where a page has moved to, if it is still here; it is read under that address."""
        if not self.covers(target):
            if url == self.start:
                raise InvalidInput(f"{url} sends readers to {target or 'nowhere'}; ingest that")
            self.n_skipped += 1
        else:
            self._queue(target, todo, first=True)

    def _read_page(self, url: str, answer: Response, todo: deque[str]) -> Page | None:
        read = self._parser.page(answer.body, answer.charset)
        found = read.links
        own = canonical(found.canonical, url) if found.canonical else url
        if self._follows_links and not found.nofollow:
            for link in found.links:
                target = canonical(link, urljoin(url, found.base))
                if target and self.covers(target):
                    self._queue(target, todo)
        if own != url and self.covers(own) and url not in self._settled:
            self._settled.add(own)  # two pages that name each other are not followed in circles
            self._queue(own, todo, first=True)
            return None
        if found.noindex:
            self.n_skipped += 1
            return None
        return Page(url, ".html", read.html.encode())

    def _queue(self, url: str, todo: deque[str], *, first: bool = False) -> None:
        if url in self._taken:
            return
        if not first and self.n_seen + len(todo) > self._limits.n_pages:
            return  # the crawl ends at its limit before this one's turn
        self._taken.add(url)
        if first:
            todo.appendleft(url)
        else:
            todo.append(url)

    def _get(self, fetcher: Fetcher, url: str, max_bytes: int) -> Response:
        """Get robots.txt or a sitemap, following it within the site's host."""
        for _ in range(MAX_HOPS):
            answer = self._get_once(fetcher, url, max_bytes)
            target = canonical(answer.location, url) if answer.status in REDIRECTS else ""
            if not target or _origin(target) != self._origin:
                return answer
            url = target
        raise DocumentError(f"leads on over more than {MAX_HOPS} redirects")

    def _get_once(
        self, fetcher: Fetcher, url: str, max_bytes: int, media_types: tuple[str, ...] = ()
    ) -> Response:
        if self._robots.delay_s:
            self._pause(min(self._robots.delay_s, MAX_DELAY_S))
        timeout_s = self._limits.page_seconds
        answer = fetcher.get(url, max_bytes=max_bytes, timeout_s=timeout_s, media_types=media_types)
        self._n_bytes += len(answer.body)
        return answer


def _start_url(url: str) -> str:
    found = canonical(url, "")
    if not found:
        raise InvalidInput(f"{url} is no web address that can be read; use https://host/path")
    return found


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def _folder(url: str) -> str:
    """Return the path whose pages belong to a site that starts here: /help/index.html → /help."""
    path = httpx.URL(url).path
    last = path.rsplit("/", 1)[-1]
    return (path[: -len(last)] if "." in last else path).rstrip("/") or "/"
