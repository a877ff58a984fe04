"""A website → its pages: by sitemap, else by links; polite, same host only, bounded in all ways."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from core.errors import DocumentError, InvalidInput
from retrieval.fetch import Fetcher, Response
from retrieval.links import Section, canonical
from retrieval.load import MEDIA_TYPES, Problem
from retrieval.parser import Parser
from retrieval.site_requests import REDIRECTS, CrawlLimits, SiteRequests

LIMITS = CrawlLimits()
# FAQ tables are told from other tables by a person, so a site's CSV files are left alone.
SUFFIXES = {
    kind: suffix for suffix, kind in MEDIA_TYPES.items() if suffix not in (".csv", ".jsonl")
}
SUFFIXES |= {"text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md"}


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
        limits: CrawlLimits | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.start = _start_url(url)
        self.complete, self.gone, self.n_skipped = True, set[str](), 0
        self.n_seen, self.n_waiting = 0, 1
        self._limits, self._pause, self._public_only = limits or LIMITS, pause, public_only
        self._parser = parser
        self._section = Section.of(self.start)
        self._todo: deque[str] = deque()
        self._taken: set[str] = set()  # addresses that wait or were visited
        self._settled: set[str] = set()  # read under this address whatever the page calls itself
        self._follows_links = False

    def covers(self, url: str) -> bool:
        """Whether an address lies on this site: same origin, at or below where it starts."""
        return self._section.covers(url)

    def pages(self) -> Iterator[Page | Problem]:
        """
        Yield each page once, and a problem for each that failed.

        Raises:
            InvalidInput: The start itself can't be read; the text says why and what to do.
            NotAllowed: The address is not public and only public ones may be read.
        """
        with Fetcher(public_only=self._public_only) as fetcher:
            site = SiteRequests(self.start, fetcher, self._parser, self._limits, self._pause)
            site.read_robots()
            listing = site.list_pages()
            self.complete, self._follows_links = listing.is_complete, not listing.pages
            self._todo.extend(listing.pages or [self.start])
            self._taken.update(self._todo)
            while self._todo:
                if spent := site.spent(self.n_seen):
                    self.complete = False
                    yield Problem(self.start, f"stopped after {spent}; nothing was removed")
                    return
                url = self._todo.popleft()
                self.n_seen, self.n_waiting = self.n_seen + 1, len(self._todo)
                try:
                    page = self._visit(site, url)
                except DocumentError as exc:
                    # what only this page links to is not known now
                    self.complete = self.complete and not self._follows_links
                    yield Problem(url, f"{url} {exc}; it is left as it was")
                    continue
                if page:
                    yield page

    def _visit(self, site: SiteRequests, url: str) -> Page | None:
        """Read one page and queue what it links to; None when it is no article."""
        if not site.robots.may_read(url):
            self.n_skipped += 1
            return None
        answer = site.get(url, self._limits.page_bytes, tuple(SUFFIXES))
        if answer.status in (404, 410):
            if url == self.start:
                raise InvalidInput(f"{url} answered {answer.status}; check the address")
            self.gone.add(url)
            return None
        if answer.status in REDIRECTS:
            self._redirected(url, canonical(answer.location, url))
            return None
        if answer.status != 200:
            raise DocumentError(f"answered {answer.status}")
        suffix = SUFFIXES.get(answer.media_type)
        if suffix is None or "noindex" in answer.robots_tag:
            self.n_skipped += 1
            return None
        if suffix != ".html":
            return Page(url, suffix, answer.body)
        return self._read_page(url, answer)

    def _redirected(self, url: str, target: str) -> None:
        """Queue where a page has moved to, if it is still here; it is read under that address."""
        if not self.covers(target):
            if url == self.start:
                raise InvalidInput(f"{url} sends readers to {target or 'nowhere'}; ingest that")
            self.n_skipped += 1
        else:
            self._queue(target, first=True)

    def _read_page(self, url: str, answer: Response) -> Page | None:
        """Queue a page's links; return it unless it is no article or has another address."""
        read = self._parser.page(answer.body, answer.charset)
        found = read.links
        own = canonical(found.canonical, url) if found.canonical else url
        if self._follows_links and not found.nofollow:
            for link in found.links:
                target = canonical(link, urljoin(url, found.base))
                if target and self.covers(target):
                    self._queue(target)
        if own != url and self.covers(own) and url not in self._settled:
            self._settled.add(own)  # two pages that name each other are not followed in circles
            self._queue(own, first=True)
            return None
        if found.noindex:
            self.n_skipped += 1
            return None
        return Page(url, ".html", read.html.encode())

    def _queue(self, url: str, *, first: bool = False) -> None:
        if url in self._taken:
            return
        if not first and self.n_seen + len(self._todo) > self._limits.n_pages:
            return  # the crawl ends at its limit before this one's turn
        self._taken.add(url)
        if first:
            self._todo.appendleft(url)
        else:
            self._todo.append(url)


def _start_url(url: str) -> str:
    found = canonical(url, "")
    if not found:
        raise InvalidInput(f"{url} is no web address that can be read; use https://host/path")
    return found
