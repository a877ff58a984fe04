"""Folders → the files to read, in order; what leads out or can't be listed is reported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.load import MEDIA_TYPES, Problem, storable_text

MAX_URI_BYTES = 2000  # the database's index holds no longer name


@dataclass(slots=True)
class Walk:
    """What lies in the folders; below `unlisted` ones there may be more than was seen."""

    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unlisted: list[Path] = field(default_factory=list)
    n_skipped: int = 0  # files of a kind that can't be read


def walk(roots: Sequence[Path]) -> Walk:
    """
    Find each readable file once, in order; a root that is no folder is tried whatever its kind.

    Hidden files and folders are left out. Links that lead out of a folder are refused: what
    is found below a folder must lie below it.
    """
    found = Walk()
    seen: set[Path] = set()
    for root in roots:
        for path in _below(root, found) if root.is_dir() else [root]:
            if path not in seen:
                seen.add(path)
                _sort_in(path, root, found)
    return found


def _below(root: Path, found: Walk) -> list[Path]:
    paths: list[Path] = []

    def note(exc: OSError) -> None:
        folder = Path(exc.filename)
        found.unlisted.append(folder)
        found.problems.append(Problem(_shown(folder), f"{folder.name} can't be listed"))

    for folder, folders, files in os.walk(root, onerror=note):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        paths += [Path(folder, name) for name in [*files, *linked] if name[0] != "."]
    return sorted(paths)


def _sort_in(path: Path, root: Path, found: Walk) -> None:
    if path != root and path.is_symlink() and not path.resolve().is_relative_to(root):
        found.problems.append(Problem(_shown(path), f"{_shown(path)} is a link out of the folder"))
    elif path != root and (path.is_dir() or path.suffix.lower() not in MEDIA_TYPES):
        found.n_skipped += 1
    elif _shown(path) != str(path):
        reason = f"{storable_text(path.name)} has a name that isn't UTF-8; rename it"
        found.problems.append(Problem(_shown(path), reason))
    elif len(str(path).encode()) > MAX_URI_BYTES:
        reason = f"{path.name[:80]} has a path of over {MAX_URI_BYTES} bytes; move it"
        found.problems.append(Problem(_shown(path), reason))
    else:
        found.files.append(path)


def _shown(path: Path) -> str:
    """Return the path as text that Postgres can store and a terminal can print."""
    return storable_text(str(path))
