"""Judged questions: each with its right articles; read from a file and written to one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InvalidInput
from core.jsonl import BadLine, GoodLine, read_jsonl
from core.types import Message
from retrieval.search import standalone_query


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A question, what was asked before it if anything, and the names of its right articles."""

    question: str
    relevant: frozenset[str]
    previous: str = ""
    source: str = ""  # of one made from a turn: "good_turn" or "review"
    turn_id: str = field(default="", compare=False)  # that turn; no file holds it

    @property
    def search_text(self) -> str:
        """What the chat would search for."""
        asked: list[Message] = [{"role": "user", "content": self.previous}]
        return standalone_query(self.question, asked if self.previous else [])


class ArticleNames:
    """Finds the uri that a person means by a uri or the end of one, like `returns.md`."""

    def __init__(self, uris: Iterable[str]) -> None:
        self._by_last_part: dict[str, list[str]] = {}
        for uri in sorted(uris):
            self._by_last_part.setdefault(_last_part(uri), []).append(uri)

    def uri_of(self, name: str) -> str | None:
        """Return the article's uri; None when no article is named so."""
        wanted = f"/{name.strip('/')}"
        candidates = self._by_last_part.get(_last_part(name), [])
        return next((uri for uri in candidates if f"/{uri.rstrip('/')}".endswith(wanted)), None)


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def read_queries(path: Path) -> list[JudgedQuery]:
    """
    Read JSON lines with `question`, `article` (or a list `relevant`) and optionally `previous`.

    An article is named by its uri or the end of it, like `returns.md`; `first` is another
    name for `previous`.

    Raises:
        InvalidInput: The file is unreadable or a line is not of this form; its number is named.
    """
    queries = [_read_query(row) for row in read_jsonl(path)]
    if not queries:
        raise InvalidInput(f"{path} holds no questions")
    return queries


def _read_query(line: GoodLine | BadLine) -> JudgedQuery:
    if isinstance(line, BadLine):
        raise InvalidInput(f"{line}; each needs a `question` and an `article`")
    row, number = line.fields, line.number
    try:
        relevant = row["relevant"] if "relevant" in row else [row["article"]]
        previous = row.get("previous") or row.get("first", "")
        query = JudgedQuery(row["question"], frozenset(relevant), previous, row.get("source", ""))
    except (KeyError, TypeError) as exc:
        raise InvalidInput(f"line {number} needs a `question` and an `article`") from exc
    texts = (query.question, query.previous, query.source, *query.relevant)
    if not query.relevant or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"line {number} needs texts as `question` and `article`")
    if isinstance(relevant, str) or not query.search_text:
        raise InvalidInput(f"line {number} needs a question, and a list as `relevant`")
    return query


def write_queries(path: Path, queries: Sequence[JudgedQuery]) -> None:
    """
    Write a new file that `read_queries` reads, for its owner's eyes only.

    Raises:
        InvalidInput: The file exists already, or can't be written.
    """
    lines = [
        json.dumps(
            {
                "question": query.question,
                "previous": query.previous,
                "relevant": sorted(query.relevant),
                "source": query.source,
            },
            ensure_ascii=False,
        )
        for query in queries
    ]
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise InvalidInput(f"{path} exists already; name another file") from exc
    except OSError as exc:
        raise InvalidInput(f"{path} can't be written: {exc.strerror}") from exc
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
