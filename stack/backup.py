"""`ratchet backup` and `restore`: database, adapters, datasets, uploads and secrets in one file."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from core import audit
from core.errors import InvalidInput, StackError
from core.secrets import MARKER
from core.settings import Settings
from stack import checks, pgtools
from stack.archive import (
    DUMP,
    SECRETS,
    Manifest,
    file_names,
    read_archive,
    write_archive,
)
from stack.backup_database import applied_migrations, require_free, restore_database
from stack.leftovers import find_leftovers
from stack.swap import exchanged, put_back, work_folder

OnStep = Callable[[str], None]  # what begins now
Migrations = Sequence[tuple[str, str]]  # (name, sha256) in order


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What was written: `bytes` of the one file, `files` in it."""

    path: Path
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and when it had been saved."""

    made_at: str
    files: int
    migrations_applied: list[str]


def saved_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders whose files a backup holds, by their name in it."""
    return {
        "adapters": settings.adapters,
        "datasets": settings.datasets,
        "uploads": settings.home / "uploads",
    }


def back_up(settings: Settings, target: Path, on_step: OnStep) -> BackedUp:
    """
    Write everything that can't be made again into `target`; the stack may be running.

    The database is saved first: each adapter that its rows name is on the disk by then.

    Raises:
        InvalidInput: `target` exists or can't be written.
        DatabaseUnavailable: There is no database.
    """
    target = target.expanduser().absolute()
    if target.exists():
        raise InvalidInput(f"{target} exists already; name another file")
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no folder {target.parent}; make it first")
    folders = saved_folders(settings)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as draft:
        dump = Path(draft) / DUMP
        with pgtools.database(settings) as dsn:
            on_step("saving the database")
            migrations = applied_migrations(dsn)
            options = ("--format=custom", "--no-owner", "--no-privileges")
            pgtools.run_tool("pg_dump", dsn, *options, "--exclude-extension=*", f"--file={dump}")
            on_step("saving adapters, datasets, uploads and secrets")
            secrets = {f"secrets/{name}": settings.home / name for name in SECRETS}
            files = {DUMP: dump, **file_names(folders)}
            files |= {name: path for name, path in secrets.items() if path.is_file()}
            manifest = write_archive(target, files, folders=folders, migrations=migrations)
            _record_made(dsn, target, manifest)
    return BackedUp(target, target.stat().st_size, len(manifest.members))


def restore(
    settings: Settings,
    source: Path,
    *,
    replace: bool,
    known: Migrations,
    migrate: Callable[[Settings], list[str]],
    on_step: OnStep,
) -> Restored:
    """
    Make database, files and secrets what they were when `source` was written.

    `known` are this version's migrations, `migrate` applies those that came since. All is
    checked before anything changes, the database changes in one transaction, and the files
    are put back when that fails.

    Raises:
        InvalidInput: The file is damaged or foreign, or there is something that it would replace.
        StackError: The stack is running; nothing was changed.
    """
    checks.require_home(settings)
    folders = saved_folders(settings)
    with ExitStack() as stack:
        stack.enter_context(_alone(settings))
        put_back([settings.home, *folders.values()])  # of a restore that was killed
        drafts = {
            name: stack.enter_context(work_folder(folder)) for name, folder in folders.items()
        }
        drafts["secrets"] = drafts[""] = stack.enter_context(work_folder(settings.home))
        on_step("checking the file")
        manifest = read_archive(source.expanduser().absolute(), drafts)
        _require_known(manifest, known)
        _close_to_writing(drafts["adapters"] / "adapters")
        dsn = stack.enter_context(pgtools.database(settings, make=True))
        require_free(dsn, replace=replace)
        with ExitStack() as undo:
            on_step("restoring the files")
            for name, folder in folders.items():
                undo.enter_context(exchanged(drafts[name] / name, folder))
            secrets = drafts["secrets"] / "secrets"
            if saved := [name for name in SECRETS if (secrets / name).is_file()]:
                # Without the marker in the backup its secrets are made anew at the next start.
                undo.enter_context(exchanged(secrets, settings.home, [*saved, MARKER]))
            on_step("restoring the database")
            restore_database(dsn, drafts[""], manifest, folders)
        on_step("bringing the schema up to date")
        applied = migrate(settings)
        with psycopg.connect(dsn) as conn:
            _record(conn, manifest)
    return Restored(manifest.made_at, len(manifest.members), applied)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Keep `ratchet up` and other restores of this home waiting; refuse while it is running."""
    (settings.home / "supervisor").mkdir(mode=0o700, exist_ok=True)
    with (settings.home / "supervisor" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find_leftovers(settings.home):  # whatever its supervisor says, or if that was killed
            raise StackError("the stack is running; `ratchet down`, then restore")
        yield


def _require_known(manifest: Manifest, known: Migrations) -> None:
    theirs = [(name, sha256) for name, sha256 in manifest.migrations]
    if theirs != list(known[: len(theirs)]) or not theirs:
        raise InvalidInput(
            "the backup's database is not of this version or an older one; "
            "restore it with the version that made it. Nothing was changed"
        )


def _close_to_writing(adapters: Path) -> None:
    """Give unpacked adapters the modes that registered ones have."""
    for path in adapters.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


def _record_made(dsn: str, target: Path, manifest: Manifest) -> None:
    n_files = len(manifest.members)
    with psycopg.connect(dsn) as conn:
        # A backup is also made before an upgrade, with the tables of the version before.
        if conn.execute("SELECT to_regclass('audit_log')").fetchone() != (None,):
            made = audit.Action.BACKUP_MADE
            audit.record(conn, "command line", made, target.name, files=n_files)


def _record(conn: Connection[Any], manifest: Manifest) -> None:
    audit.record(
        conn,
        "command",
        audit.Action.BACKUP_RESTORED,
        manifest.made_at,
        files=len(manifest.members),
    )
