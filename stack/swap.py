"""Files exchanged for others in place, and put back when what follows fails or was killed."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

WORK = ".restoring"  # what comes in, on the same file system
BEFORE = ".before-restore"  # what was there; a volume's own folder can't be renamed
ALL_OUT = ".all-out"  # in BEFORE once all that was there is in it: the names that are exchanged


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, 0700, that is gone afterwards."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = folder / WORK
    _remove(work)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        _remove(work)


@contextmanager
def exchanged(incoming: Path, folder: Path, names: Sequence[str] = ()) -> Iterator[None]:
    """
    Let the entries of `incoming` stand in for those of `folder` (of these names, or all).

    When the block raises, what was there before is back.
    """
    before = folder / BEFORE
    before.mkdir(mode=0o700)
    try:
        for entry in _entries(folder, names):
            _move(entry, before)
        (before / ALL_OUT).write_text(json.dumps(names))
        if incoming.is_dir():
            for entry in _entries(incoming, names):
                _move(entry, folder)
        yield
    except BaseException:
        put_back([folder])
        raise
    _remove(before)


def put_back(folders: Iterable[Path]) -> None:
    """Undo exchanges in these folders that did not come to their end."""
    for folder in folders:
        before = folder / BEFORE
        if not before.is_dir():
            continue
        if (before / ALL_OUT).is_file():  # until then what stands in the folder is its own
            for entry in _entries(folder, json.loads((before / ALL_OUT).read_text())):
                _remove(entry)
        for entry in _entries(before):
            _move(entry, folder)
        _remove(before)


def _entries(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Return what stands in a folder but drafts, which begin with a dot."""
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in found if path.name in names] if names else found


def _move(entry: Path, folder: Path) -> None:
    mode = stat.S_IMODE(entry.stat().st_mode)
    if entry.is_dir():
        entry.chmod(0o700)  # only who may write a folder can move it
    entry.rename(folder / entry.name).chmod(mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for folder in (path, *(p for p in path.rglob("*") if p.is_dir() and not p.is_symlink())):
            folder.chmod(0o700)  # adapters are read-only
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
