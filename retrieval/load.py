"""Files of articles: which kinds are read, how large they may be, what a document is."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import DocumentError
from core.text import storable_text as storable_text  # until its callers read it there

MAX_BYTES = 20 * 2**20
MAX_TITLE_CHARS = 200

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".txt": "text/plain",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".csv": "text/csv",
    ".jsonl": "application/jsonl",
}


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """One readable document: `uri` names its source, `body_markdown` keeps its headings."""

    uri: str
    title: str
    media_type: str
    body_markdown: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or page that could not be ingested, and why in one line."""

    path: str
    reason: str

    @property
    def uri(self) -> str:
        """The path: what a document of it would be called."""
        return self.path


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes; raises DocumentError when it is unreadable, empty or over 20 MB."""
    try:
        # Not blocking: who opens a named pipe would wait for its other end for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            status = os.fstat(f.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DocumentError(f"{path.name} is no ordinary file, so it isn't read")
            if status.st_size > MAX_BYTES:
                n_mb = status.st_size / 2**20
                raise DocumentError(f"{path.name} has {n_mb:.0f} MB; at most 20 MB go in")
            raw = f.read(status.st_size)
    except OSError as exc:
        raise DocumentError(f"{path.name} can't be opened: {exc.strerror}") from exc
    if not raw.strip():
        raise DocumentError(f"{path.name} is empty")
    return raw


def page_name(url: str, suffix: str) -> str:
    """
    Return what a page would be called as a file.

    >>> page_name("https://help.example.com/gift%20cards/", ".html")
    'gift cards.html'
    """
    last = unquote(urlsplit(url).path).rstrip("/").rsplit("/", 1)[-1] or urlsplit(url).netloc
    return last.removesuffix(suffix) + suffix
