"""Uploaded articles: moved to where the worker finds them, under names that are safe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from core.errors import InvalidInput
from core.settings import Settings
from retrieval.load import MAX_BYTES

MAX_FILES = 100  # at once
MAX_NAME_CHARS = 120


def uploads_folder(settings: Settings) -> Path:
    """Return the folder of uploaded articles; it may not be there yet."""
    return settings.home / "uploads"


def safe_name(given: str) -> str:
    """
    Return a file name without folders, control characters or a leading dot; its suffix stays.

    >>> safe_name("../../etc/passwd"), safe_name(".env"), safe_name("Über uns (neu).md")
    ('passwd', 'env', 'Über uns (neu).md')
    """
    last = re.split(r"[/\\]", given)[-1]
    plain = re.sub(r"[^\w.\-() ]", "_", last).strip(" .")
    suffix = Path(plain).suffix[:10]
    stem = plain.removesuffix(suffix)[: MAX_NAME_CHARS - len(suffix)].rstrip(" .")
    return f"{stem or 'article'}{suffix}"


def keep_uploads(settings: Settings, uploaded: Sequence[str]) -> list[str]:
    """
    Move files that were just uploaded into the uploads folder and return their new paths.

    A file of the same name is replaced: it is a newer version of that article.

    Raises:
        InvalidInput: There are none, too many, or one is too large; nothing was kept.
    """
    if not uploaded:
        raise InvalidInput("no file arrived; choose some again")
    if len(uploaded) > MAX_FILES:
        raise InvalidInput(f"{len(uploaded)} files at once; send at most {MAX_FILES}")
    came = [Path(path) for path in uploaded]
    for path in came:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path.name} is larger than {MAX_BYTES // 2**20} MB")
    folder = uploads_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = [folder / safe_name(path.name) for path in came]
    for path, target in zip(came, kept, strict=True):
        draft = target.with_name(f".{target.name}.part")
        shutil.move(path, draft)
        draft.replace(target)  # at once: a worker never reads half of a file
    return [str(path) for path in dict.fromkeys(kept)]


def forget_upload(settings: Settings, uri: str) -> bool:
    """Remove an uploaded article's file; return False for an article that was not uploaded."""
    path = Path(uri)
    if path.parent != uploads_folder(settings) or not path.is_file():
        return False
    path.unlink()
    return True
