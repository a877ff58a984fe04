"""The house is as the README says: the rooms, the first lines of files."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "core", "stack", "retrieval", "answering", "bot", "training", "workers", "migrations",
    "cli", "bench", "examples",
)  # fmt: skip


def tracked_files() -> list[Path]:
    """Return what git knows, or every file outside of ignored folders in an unpacked archive."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    return [Path(name) for name in listed if name and (ROOT / name).exists()]


def test_every_room_stands_in_the_readme():
    """Its tree of modules is generated; `make lint` checks that it is up to date."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [] == [room for room in ROOMS if f"\n{room}/ " not in text]


def test_the_readme_answers_where_things_are():
    """A newcomer asks where the prompt is made, what counts for learning and what is live."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\?\* in\s`([\w/.]+)`", text)

    assert 3 == len(named)
    assert [] == [path for path in named if not (ROOT / path).is_file()]


def test_the_page_on_changes_names_files_that_exist():
    """A page that says which file a change goes into must know the files."""
    text = (ROOT / "docs" / "howto" / "extend.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]\w*(?:/[\w.]+)+/?)`", text))

    assert len(named) > 20
    assert [] == sorted(path for path in named if not (ROOT / path).exists())


@pytest.mark.parametrize(
    "path", [p for p in tracked_files() if p.suffix == ".py"], ids=lambda p: str(p)
)
def test_every_file_opens_by_saying_what_it_is(path: Path):
    """The first line is read far more often than the rest."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")))
