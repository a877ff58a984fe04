"""Other people's bytes → documents, chunks and links; a process with limits parses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import DocumentError
from retrieval.confined import LIMITS, ConfinedProcess, NoAnswer, ProcessLimits
from retrieval.load import MAX_TITLE_CHARS, LoadedDocument, page_name
from retrieval.parsed import Cut, ReadPage, Sitemap
from retrieval.robots import Robots

MODULE = "retrieval.parser_main"
Result = TypeVar("Result")
_DOCUMENT = TypeAdapter(LoadedDocument)
_CUT = TypeAdapter(Cut)
_PAGE = TypeAdapter(ReadPage)
_SITEMAP = TypeAdapter(Sitemap)
_ROBOTS = TypeAdapter(Robots)


class Parser(ConfinedProcess):
    """
    Everything that is read from files and sites of others, each within the limits.

    What comes back is text of the expected shape, whatever was read. For one thread at a
    time; close it, or use it as a context manager.
    """

    def __init__(
        self, tokenizer_json: Callable[[], str] | None = None, limits: ProcessLimits | None = None
    ) -> None:
        """Take what returns a tokenizer as JSON, called at each start; only `cut` needs it."""
        super().__init__(MODULE, limits or LIMITS)
        self._tokenizer_json = tokenizer_json

    def document(self, raw: bytes, *, uri: str, name: str) -> LoadedDocument:
        """
        Turn bytes into a document; the kind is told by the suffix of `name`.

        Raises:
            DocumentError: It can't be read within the limits; the text names it and the reason.
        """
        try:
            document = self._parse(_DOCUMENT, "document", raw, name=name)
        except NoAnswer as exc:
            raise DocumentError(f"{name} {exc}") from exc
        return replace(document, uri=uri, title=document.title[:MAX_TITLE_CHARS])

    def page_document(self, url: str, suffix: str, raw: bytes) -> LoadedDocument:
        """Turn a page of a site into a document whose uri is its address."""
        try:
            return self.document(raw, uri=url, name=page_name(url, suffix))
        except DocumentError as exc:
            raise DocumentError(f"{url}: {exc}") from exc

    def cut(self, document: LoadedDocument, max_tokens: int) -> Cut:
        """Cut a document into chunks; raises DocumentError when it holds headings only."""
        name, raw = Path(document.uri).name, document.body_markdown.encode()
        try:
            cut = self._parse(_CUT, "cut", raw, title=document.title, max_tokens=max_tokens)
        except NoAnswer as exc:
            raise DocumentError(f"{name} {exc}") from exc
        if not cut.chunks or len(cut.chunks) != len(cut.texts):
            raise DocumentError(f"{name} holds headings only")
        return cut

    def page(self, raw: bytes, charset: str) -> ReadPage:
        """Return a page's bytes as text, with its links; raises DocumentError."""
        return self._parse(_PAGE, "page", raw, charset=charset)

    def sitemap(self, raw: bytes, max_bytes: int) -> Sitemap:
        """Return what a sitemap lists, unpacked to at most `max_bytes`; raises DocumentError."""
        return self._parse(_SITEMAP, "sitemap", raw, max_bytes=max_bytes)

    def robots(self, raw: bytes) -> Robots:
        """Return what a robots.txt asks of us; raises DocumentError."""
        return self._parse(_ROBOTS, "robots", raw)

    def _prepare(self) -> None:
        if self._tokenizer_json:
            self.ask("tokenizer", self._tokenizer_json().encode())

    def _parse(
        self, result: TypeAdapter[Result], operation: str, raw: bytes, **args: Any
    ) -> Result:
        answer = self.ask(operation, raw, **args)
        try:
            return result.validate_json(answer, strict=True)
        except ValidationError as exc:
            self.close()  # whatever has taken it over is not asked again
            raise NoAnswer("made its parser answer nonsense; save it anew") from exc
