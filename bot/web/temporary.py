"""The folder of uploads on their way in: only its owner may read it, old ones are removed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

KEPT_S = 3600.0  # an upload is moved to the articles within seconds; what stays was given up


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, whatever its mode was before."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def empty_by_age(folder: Path, kept_s: float = KEPT_S) -> int:
    """Remove what has not been written to for `kept_s` seconds; return how many entries."""
    too_old = time.time() - kept_s
    old = [entry for entry in folder.iterdir() if _written_at(entry) < too_old]
    for entry in old:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return len(old)


def _written_at(entry: Path) -> float:
    try:
        return entry.lstat().st_mtime
    except OSError:
        return time.time()  # gone meanwhile
