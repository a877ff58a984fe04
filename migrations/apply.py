"""Applies the numbered SQL files once each, in order; refuses when history was changed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from core.db import first_line
from core.errors import DatabaseUnavailable, MigrationError

FOLDER = Path(__file__).resolve().parent
LOCK_KEY = 0x52415443  # "RATC": one runner at a time on a database
NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
TRANSACTION_CONTROL = re.compile(
    r"^\s*(begin|commit|rollback|start)(\s+(transaction|work))?\s*;", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file; `name` is its file name and `sha256` is over its bytes."""

    name: str
    sha256: str
    sql: str


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """
    Return the folder's migrations in order.

    Raises:
        MigrationError: A number is missing or used twice, or a name does not fit.
    """
    paths = sorted(path for path in folder.glob("*.sql") if path.name != "schema.sql")
    for position, path in enumerate(paths, start=1):
        match = NAME.fullmatch(path.name)
        if not match:
            raise MigrationError(f"{path.name} is not named like 0002_what_it_does.sql; rename it")
        if int(match[1]) != position:
            raise MigrationError(f"{path.name} stands where number {position:04d} should; renumber")
    return [_read(path) for path in paths]


def apply(dsn: str, folder: Path = FOLDER) -> list[str]:
    """
    Bring the database up to date and return the names applied now, in order.

    Each file runs in its own transaction together with its row in `schema_migrations`,
    so a failed one leaves nothing behind. Concurrent runners wait for each other.

    Raises:
        MigrationError: A migration failed, or one applied earlier was changed or removed.
        DatabaseUnavailable: Postgres can't be reached.
    """
    migrations = read_migrations(folder)
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as conn:
            conn.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))  # held until we disconnect
            applied = _applied(conn)
            _check_history(applied, migrations)
            pending = migrations[len(applied) :]
            for migration in pending:
                _run(conn, migration)
            return [migration.name for migration in pending]
    except psycopg.OperationalError as exc:
        why = f"migrations can't reach the database: {first_line(exc)}"
        raise DatabaseUnavailable(why) from exc


def _read(path: Path) -> Migration:
    body = path.read_bytes()
    return Migration(path.name, hashlib.sha256(body).hexdigest(), body.decode())


def _applied(conn: Connection[Any]) -> list[tuple[str, str]]:
    conn.execute("""
        CREATE TABLE IF NOT EXISTS schema_migrations (
            name       text PRIMARY KEY,
            sha256     text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
    """)
    return conn.execute("SELECT name, sha256 FROM schema_migrations ORDER BY name").fetchall()


def _check_history(applied: list[tuple[str, str]], migrations: list[Migration]) -> None:
    known = {migration.name: migration.sha256 for migration in migrations}
    for position, (name, sha256) in enumerate(applied):
        if name not in known:
            raise MigrationError(f"{name} is in the database but its file is missing; restore it")
        if known[name] != sha256:
            raise MigrationError(
                f"{name} was changed after it was applied; restore it and add a new migration"
            )
        if migrations[position].name != name:
            raise MigrationError(
                f"{migrations[position].name} was never applied although {name} was; "
                "restore the database from a backup"
            )


def _run(conn: Connection[Any], migration: Migration) -> None:
    if TRANSACTION_CONTROL.search(migration.sql):
        raise MigrationError(
            f"{migration.name} begins or ends a transaction itself and could end half-applied; "
            "take that statement out"
        )
    try:
        with conn.transaction():
            conn.execute(migration.sql.encode())  # no parameters: several statements in one go
            conn.execute(
                "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)",
                (migration.name, migration.sha256),
            )
    except psycopg.Error as exc:
        why = f"{migration.name} failed and was rolled back: {first_line(exc)}"
        raise MigrationError(why) from exc
