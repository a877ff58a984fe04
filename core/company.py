"""The company's folder: its name, guidelines and questions, read and checked in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from core.jsonl import BadLine, GoodLine, read_jsonl
from core.text import storable_text

GOLDEN = "golden.jsonl"
UNANSWERABLE = "unanswerable.jsonl"
SUGGESTED = "suggested.json"
FILES = ("name.txt", "guidelines.md", SUGGESTED, GOLDEN, UNANSWERABLE)

Stamp = tuple[int, int, int]  # modified at, size, inode: another one means another content


@dataclass(frozen=True, slots=True)
class GoldenQuestion:
    """A question, the article that answers it, and the facts that a right answer holds."""

    question: str
    facts: tuple[str, ...]
    article: str  # its file name, like `returns.md`
    line: int  # where it stands in its file, counted from 1
    first: str = ""  # what was asked before it, when it is a follow-up question


@dataclass(frozen=True)
class Company:
    """
    What one company has written about itself, as its files were when `load_company` looked.

    Each file is read when it is first asked for: a broken file of golden questions must not keep
    customers from asking. What reads `golden` or `unanswerable` may raise InvalidInput: the file
    is there and can't be read.
    """

    folder: Path
    stamps: tuple[Stamp | None, ...] = ()

    @property
    def articles(self) -> Path:
        """The folder of its help articles."""
        return self.folder / "articles"

    @cached_property
    def name(self) -> str:
        """Its name as customers read it; "Help" when nobody has written one."""
        path = self.folder / "name.txt"
        return (_read_text(path).strip() if path.exists() else "") or "Help"

    @cached_property
    def guidelines(self) -> str:
        """
        Who the assistant is and how it sounds: the first lines of every prompt.

        Raises:
            ConfigurationError: The file is missing or can't be read.
        """
        return _read_text(self.folder / "guidelines.md").strip()

    @property
    def golden(self) -> tuple[GoldenQuestion, ...]:
        """The questions whose right answers are known; empty without a file."""
        return self._golden[0]

    @property
    def golden_problems(self) -> tuple[str, ...]:
        """What is wrong with each golden line that doesn't count, with its number."""
        return self._golden[1]

    @property
    def unanswerable(self) -> tuple[str, ...]:
        """Questions to which the articles hold no answer."""
        return tuple(row.fields["question"] for row in self._unanswerable[0])

    @property
    def suggested(self) -> tuple[str, ...]:
        """The questions offered in an empty chat."""
        return self._suggested[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong in any of its files, each with the file's name and the line's number."""
        return self.golden_problems + self._unanswerable[1] + self._suggested[1]

    @cached_property
    def _golden(self) -> tuple[tuple[GoldenQuestion, ...], tuple[str, ...]]:
        return read_golden(self.folder / GOLDEN)

    @cached_property
    def _unanswerable(self) -> tuple[list[GoodLine], tuple[str, ...]]:
        return _good_rows(self.folder / UNANSWERABLE, ["question"])

    @cached_property
    def _suggested(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        path = self.folder / SUGGESTED
        try:
            entries = json.loads(_read_text(path)) if path.exists() else []
        except ValueError as exc:
            return (), (f"{SUGGESTED} is not JSON: {exc}",)
        if not isinstance(entries, list):
            return (), (f"{SUGGESTED} is not a list of questions",)
        bad = [n for n, entry in enumerate(entries, start=1) if not _is_text(entry)]
        return tuple(filter(_is_text, entries)), tuple(
            f"{SUGGESTED}: no. {n} is no text" for n in bad
        )


def load_company(folder: Path) -> Company:
    """
    Return the company as its files are now.

    Looks at five files' times and reads again only what changed since the last call, so an edit
    of the guidelines counts from the next question. Callers keep the value for one piece of work
    and no longer.
    """
    return _company(folder, tuple(_stamp(folder / name) for name in FILES))


def read_golden(path: Path) -> tuple[tuple[GoldenQuestion, ...], tuple[str, ...]]:
    """
    Read JSON lines with `question`, `article`, `facts` and optionally `first`.

    Returns the good lines, and what is wrong with each of the others, by its number. A file that
    doesn't exist holds no questions.

    Raises:
        InvalidInput: The file is there and can't be read.
    """
    rows, problems = _good_rows(path, ["question", "article"], has_facts=True)
    return tuple(_golden_question(row) for row in rows), problems


@lru_cache(maxsize=4)
def _company(folder: Path, stamps: tuple[Stamp | None, ...]) -> Company:
    return Company(folder, stamps)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None  # what this means is said by whoever needs the file
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        why = f"{path} can't be read ({exc.strerror}); check RATCHET_COMPANY"
        raise ConfigurationError(why) from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8; check RATCHET_COMPANY") from exc


def _good_rows(
    path: Path, names: list[str], *, has_facts: bool = False
) -> tuple[list[GoodLine], tuple[str, ...]]:
    rows, problems = [], []
    for line in read_jsonl(path) if path.is_file() else ():
        if isinstance(line, BadLine):
            problems.append(f"{path.name} {line}")
        elif why := _fault(line.fields, names, has_facts):
            problems.append(f"{path.name} line {line.number} {why}")
        else:
            rows.append(line)
    return rows, tuple(problems)


def _fault(fields: dict[str, Any], names: list[str], has_facts: bool) -> str:
    """Say what keeps a line from being a question of this kind; empty when nothing does."""
    for name in names:
        if not _is_text(fields.get(name)):
            return f"has no text as `{name}`"
    facts = fields.get("facts")
    if has_facts and not (isinstance(facts, list) and facts and all(map(_is_text, facts))):
        return "has no list of texts as `facts`"
    return ""


def _golden_question(row: GoodLine) -> GoldenQuestion:
    given = row.fields
    first = given["first"] if _is_text(given.get("first")) else ""
    facts = tuple(given["facts"])
    return GoldenQuestion(given["question"], facts, given["article"], row.number, first)


def _is_text(value: Any) -> bool:
    """Return whether a value is a text with something in it that Postgres can hold."""
    return isinstance(value, str) and bool(value.strip()) and value == storable_text(value)
