"""The house is as its door says: the README's tree, the rooms, the first lines."""

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


def tree_in_readme() -> set[str]:
    """Return the paths that the README's tree names, folders without their slash."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## The tree\n\n```\n(.*?)```", text, re.S)
    assert block, "the README has a tree"
    paths: set[str] = set()
    folder = ""
    for line in block[1].splitlines():
        name = line[:24].split()[0].rstrip("/") if line[:24].strip() else ""
        if not name:
            continue
        if line.startswith("  "):
            paths.add(f"{folder}/{name}")
        else:
            folder = name
            paths.add(name)
    return paths


def test_every_path_in_the_tree_exists():
    """A newcomer who follows the tree finds each room."""
    assert [] == sorted(path for path in tree_in_readme() if not (ROOT / path).exists())


def test_every_module_stands_in_the_tree():
    """No room is built without a word at the door."""
    modules = {
        str(path)
        for path in tracked_files()
        if path.suffix == ".py" and path.parts[0] in ROOMS and not path.name.startswith("__")
    }
    named = tree_in_readme()
    folders = {path for path in named if (ROOT / path).is_dir() and "/" in path}

    assert [] == sorted(
        module for module in modules - named if str(Path(module).parent) not in folders
    )


@pytest.mark.parametrize(
    "path", [p for p in tracked_files() if p.suffix == ".py"], ids=lambda p: str(p)
)
def test_every_file_opens_by_saying_what_it_is(path: Path):
    """The first line is read far more often than the rest."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")))
