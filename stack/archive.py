"""A backup's file: one compressed tar that opens with a manifest of all that must be in it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from core.errors import InvalidInput
from core.secrets import MARKER

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 2**20
DUMP = "database.dump"
# The last one tells that those of an older version were made anew.
SECRETS = ("admin-password", "session-secret", "vllm-api-key", MARKER)
# Whatever else a file claims to hold is refused: names become paths.
NAMES = re.compile(
    rf"{re.escape(DUMP)}"
    r"|adapters/[A-Za-z0-9][\w.-]{0,99}/(adapter_config\.json|adapter_model\.safetensors)"
    r"|datasets/[0-9a-f-]{36}/(train\.jsonl|heldout\.jsonl|manifest\.json)"
    r"|uploads/[^./\0-\x1f][^/\0-\x1f]{0,199}"
    rf"|secrets/({'|'.join(SECRETS)})"
)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup; `size` in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds, where it came from, and its database's migrations (name, hash)."""

    format: int
    made_at: str
    folders: dict[str, str]  # where adapters, datasets and uploads lay
    migrations: list[list[str]]
    members: list[Member]


def write_archive(
    target: Path,
    files: Mapping[str, Path],
    *,
    folders: Mapping[str, Path],
    migrations: Sequence[tuple[str, str]],
) -> Manifest:
    """
    Write the files under their names into `target`, mode 0600, whole or not at all.

    Raises:
        InvalidInput: `target` exists, can't be written, or a file changed meanwhile.
    """
    manifest = Manifest(
        format=FORMAT,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        folders={name: str(folder) for name, folder in folders.items()},
        migrations=[list(migration) for migration in migrations],
        members=[_member(name, path) for name, path in files.items()],
    )
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _write(file, manifest, files)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # unlike a rename it never replaces what is there
    except FileExistsError as exc:
        raise InvalidInput(f"{target} exists already; name another file") from exc
    except OSError as exc:
        raise InvalidInput(f"{target} can't be written: {exc.strerror or exc}") from exc
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def read_archive(source: Path, roots: Mapping[str, Path]) -> Manifest:
    """
    Unpack a backup, each file into the root of its first folder ("" for those without one).

    Raises:
        InvalidInput: It is damaged, or holds anything else than its manifest says.
    """
    try:
        with gzip.open(source, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            manifest = _read_manifest(tar)
            _check_room(manifest, roots)
            for member in manifest.members:
                _unpack(tar, member, roots)
            if tar.next() is not None:
                raise _Damaged("it holds more than its manifest names")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as exc:
        raise InvalidInput(f"{source} can't be read: {exc.strerror}") from exc
    except (_Damaged, OSError, EOFError, tarfile.TarError, zlib.error) as exc:
        raise InvalidInput(
            f"{source} is damaged or no backup of Ratchet ({exc}); nothing was changed"
        ) from exc
    return manifest


class _Damaged(Exception):
    """What is in the file is not what a backup holds."""


def _member(name: str, path: Path) -> Member:
    assert NAMES.fullmatch(name)  # else it could not be restored
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(name, os.fstat(file.fileno()).st_size, digest)


def _write(file: BinaryIO, manifest: Manifest, files: Mapping[str, Path]) -> None:
    # Weights don't compress, the dump is compressed: level 1 is nine times as quick as 9.
    plain = gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0)
    with plain, tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        head = json.dumps(asdict(manifest), indent=1, ensure_ascii=False).encode()
        tar.addfile(_header(MANIFEST, len(head)), BytesIO(head))
        for member in manifest.members:
            with files[member.name].open("rb") as content:
                when_s = int(os.fstat(content.fileno()).st_mtime)
                tar.addfile(_header(member.name, member.size, when_s), content)
                content.seek(0)
                if hashlib.file_digest(content, "sha256").hexdigest() != member.sha256:
                    raise InvalidInput(f"{member.name} changed meanwhile; make the backup again")


def _header(name: str, size: int, when_s: int = 0) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, when_s
    return header


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    header = tar.next()
    if header is None or header.name != MANIFEST or not header.isreg():
        raise _Damaged("it does not begin with a manifest")
    if header.size > MAX_MANIFEST_BYTES:
        raise _Damaged("its manifest is too large")
    file = tar.extractfile(header)
    assert file is not None  # of a regular file there always is one
    try:
        found = json.loads(file.read())
        if found["format"] != FORMAT:
            raise _Damaged(f"its format is {found['format']!r}, this version reads {FORMAT}")
        members = [Member(**member) for member in found.pop("members")]
        manifest = Manifest(**found, members=members)
        _check_manifest(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise _Damaged("its manifest can't be read") from exc
    return manifest


def _check_manifest(manifest: Manifest) -> None:
    names = [member.name for member in manifest.members]
    if len(set(names)) != len(names) or DUMP not in names:
        raise _Damaged("its manifest names a file twice, or no database")
    for member in manifest.members:
        if not NAMES.fullmatch(member.name):
            raise _Damaged(f"{member.name[:80]!r} does not belong into a backup")
        if type(member.size) is not int or member.size < 0 or not SHA256.fullmatch(member.sha256):
            raise _Damaged(f"size or hash of {member.name} is none")
    if not all(Path(folder).is_absolute() for folder in manifest.folders.values()):
        raise _Damaged("a folder of its manifest is not absolute")
    if not all(len(migration) == 2 for migration in manifest.migrations):
        raise _Damaged("a migration of its manifest is not a name and a hash")


def _check_room(manifest: Manifest, roots: Mapping[str, Path]) -> None:
    needed = sum(member.size for member in manifest.members)
    for root in roots.values():
        if (free := shutil.disk_usage(root).free) < needed:
            raise _Damaged(f"it needs {needed:,} bytes in {root}, {free:,} are free")


def _unpack(tar: tarfile.TarFile, member: Member, roots: Mapping[str, Path]) -> None:
    header = tar.next()
    if header is None or header.name != member.name:
        raise _Damaged(f"{member.name} is missing")
    if not header.isreg() or header.size != member.size:
        raise _Damaged(f"{member.name} is not the file that its manifest names")
    root = roots[member.name.partition("/")[0] if "/" in member.name else ""]
    tar.extract(header, root, filter="data")
    with (root / member.name).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != member.sha256:
            raise _Damaged(f"{member.name} is not as it was saved")


def file_names(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files below the folders that belong into a backup, by their names in it."""
    found: dict[str, Path] = {}
    for prefix, folder in folders.items():
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            name = f"{prefix}/{path.relative_to(folder).as_posix()}"
            if NAMES.fullmatch(name) and path.is_file() and not path.is_symlink():
                found[name] = path
    return found
