"""The one reader of JSON lines: lines end at "\\n" and nowhere else, each problem is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class GoodLine:
    """One line that is a JSON object; `number` counts from 1, blank lines included."""

    number: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no JSON object, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number} is {self.reason}"


def parse_jsonl(raw: bytes) -> Iterator[GoodLine | BadLine]:
    """
    Yield each line as an object or as a problem; blank lines are neither.

    U+2028, U+2029 and U+0085 may stand raw inside a JSON text, where `str.splitlines` would
    cut it: only "\\n" ends a line. NaN and Infinity are no JSON.

    >>> [row.fields for row in parse_jsonl('{"a": "x\\u2028y"}\\n\\n'.encode())]
    [{'a': 'x\\u2028y'}]
    >>> [str(row) for row in parse_jsonl(b'[1]')]
    ['line 1 is not a JSON object']
    """
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield _parse_line(number, line)


def read_jsonl(path: Path) -> Iterator[GoodLine | BadLine]:
    """
    Yield the lines of a file like `parse_jsonl`.

    Raises:
        InvalidInput: The file can't be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise InvalidInput(f"{path} can't be read: {exc.strerror}") from exc
    return parse_jsonl(raw)


def read_own_jsonl(path: Path) -> list[dict[str, Any]]:
    """
    Return the objects of a file that this program wrote itself.

    Raises:
        InvalidInput: It can't be read, or a line is damaged; path and line are named.
    """
    fields = []
    for row in read_jsonl(path):
        if isinstance(row, BadLine):
            raise InvalidInput(f"{path}: {row}; the file is damaged")
        fields.append(row.fields)
    return fields


def _parse_line(number: int, line: bytes) -> GoodLine | BadLine:
    try:
        entry = json.loads(line.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")
    except json.JSONDecodeError as exc:
        return BadLine(number, f"not JSON: {exc.msg} at column {exc.colno}")
    except RecursionError:
        return BadLine(number, "not JSON: nested too deeply")
    except ValueError as exc:  # a number of ten thousand digits, NaN
        return BadLine(number, f"not JSON: {str(exc)[:80]}")
    return (
        GoodLine(number, entry) if isinstance(entry, dict) else BadLine(number, "not a JSON object")
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
