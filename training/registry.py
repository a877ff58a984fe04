"""Adapter files: checked before anything loads them, hashed, written to a place of their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import Connection

from core import learning
from core.base_model import read_base_model
from core.errors import AdapterError
from core.settings import Settings
from core.types import Adapter
from training.adapter_config import (
    CONFIG_FILE,
    MAX_CONFIG_BYTES,
    AdapterConfig,
    canonical_config,
    parse_config,
)
from training.adapter_weights import (
    WEIGHTS_FILE,
    Adapted,
    base_shape,
    check_weights,
    max_file_bytes,
)

ALLOWED_FILES = {CONFIG_FILE, WEIGHTS_FILE, "README.md"}
# Formats that run code when they are opened.
PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


@dataclass(frozen=True, slots=True)
class SoundAdapter:
    """An adapter that passed every check; `weights` are the very bytes that were checked."""

    config: AdapterConfig
    adapted: Adapted
    weights: bytes


def register(
    conn: Connection[Any], settings: Settings, folder: Path, run_id: UUID | None
) -> Adapter:
    """
    Check the adapter in `folder`, write it to adapters/<new name> read-only, insert its row.

    The configuration is written anew from what was understood of it. The caller owns the
    transaction; if it is undone, a folder without a row stays behind and its name is never
    given out again.

    Raises:
        AdapterError: The files are corrupt, unsafe or of the wrong shape; nothing was written.
    """
    sound = read_adapter(folder, settings.model, settings.max_lora_rank)
    version, name = learning.next_adapter_name(conn)
    while (settings.adapters / name).exists():  # of a database that is gone
        version, name = learning.next_adapter_name(conn)
    target = _write_read_only(sound, settings.adapters / name, settings.model)
    return learning.insert_adapter(
        conn,
        name=name,
        version=version,
        run_id=run_id,
        path=str(target.absolute()),
        sha256=content_sha256(target),
        base_model=settings.model,
        base_sha256=read_base_model(settings.model).sha256 or None,
        rank=sound.config.rank,
    )


def verify(folder: Path, base_model: str, max_rank: int) -> int:
    """
    Return the adapter's rank if vLLM may safely load it onto this base model.

    Raises:
        AdapterError: With the first reason why not.
    """
    return read_adapter(folder, base_model, max_rank).config.rank


def read_adapter(folder: Path, base_model: str, max_rank: int) -> SoundAdapter:
    """
    Read the adapter's two files once each and check all that is in them.

    Raises:
        AdapterError: With the first reason why vLLM may not load it onto this base model.
    """
    _check_files(folder)
    config = parse_config(_read_bounded(folder / CONFIG_FILE, MAX_CONFIG_BYTES), max_rank)
    base = base_shape(base_model)
    weights = _read_bounded(folder / WEIGHTS_FILE, max_file_bytes(config, base))
    return SoundAdapter(config, check_weights(weights, config, base), weights)


def verify_unchanged(adapter: Adapter) -> None:
    """
    Check that a registered adapter's files are still those that were registered.

    Raises:
        AdapterError: They are missing or changed.
    """
    if not Path(adapter.path).is_dir():
        raise AdapterError(f"{adapter.name}: the folder {adapter.path} is gone; restore it")
    if is_changed(adapter):
        raise AdapterError(f"{adapter.name}: its files changed since it was registered; not loaded")


def is_changed(adapter: Adapter) -> bool:
    """Whether a registered adapter's files are there and are not those that were registered."""
    folder = Path(adapter.path)
    try:
        return folder.is_dir() and content_sha256(folder) != adapter.sha256
    except AdapterError:  # something else than a plain file lies among them now
        return True


def content_sha256(folder: Path) -> str:
    """
    Return one hash over the names and contents of a folder's files.

    Raises:
        AdapterError: Something in it is not a plain file: a pipe would never end.
    """
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with os.fdopen(_open_plain(path), "rb") as file:
            whole.update(
                f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return whole.hexdigest()


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterError(f"no adapter folder {folder}")
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLED:
            raise AdapterError(
                f"{path.name} is a pickle, which can run code; save the adapter as safetensors"
            )
        if path.name not in ALLOWED_FILES or path.is_symlink() or not path.is_file():
            raise AdapterError(f"{path.name} does not belong into an adapter; remove it")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise AdapterError(f"{folder} has no {name}; is it a PEFT LoRA adapter?")


def _open_plain(path: Path) -> int:
    # Looked at once opened: what was checked by its name may have been exchanged since.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        raise AdapterError(f"{path} can't be read: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise AdapterError(f"{path} is not a plain file; remove it")
    return handle


def _read_bounded(path: Path, max_bytes: int) -> bytes:
    with os.fdopen(_open_plain(path), "rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise AdapterError(
            f"{path.name} has more than the {max_bytes:,} bytes that it can need; "
            "was it trained on another base?"
        )
    return raw


def _write_read_only(sound: SoundAdapter, target: Path, base_model: str) -> Path:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(mode=0o755, parents=True)
    adapted = sound.adapted
    config = canonical_config(sound.config, adapted.modules, adapted.layers, base_model)
    try:
        for name, raw in ((CONFIG_FILE, config), (WEIGHTS_FILE, sound.weights)):
            (draft / name).write_bytes(raw)
            (draft / name).chmod(0o444)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already when all went well
    target.chmod(0o555)
    return target
