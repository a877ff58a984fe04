"""A backup's database: emptied, filled from a dump and its paths corrected, in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql

from core.errors import InvalidInput, StackError
from stack import pgtools
from stack.archive import DUMP, Manifest

# Empties a schema of what its owner made; the extension stays, another role may own it.
EMPTY_SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
DO $$
DECLARE
    statement text;
    -- All at once: a name can't be looked up any more when a cascade has taken its object.
    statements text[] := ARRAY(
        SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind
                WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = c.oid
                            AND deptype IN ('e', 'i'))
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
        FROM pg_proc p
        WHERE pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'));
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
"""


def applied_migrations(dsn: str) -> list[tuple[str, str]]:
    """
    Return the names and hashes of the database's migrations, in order.

    Raises:
        InvalidInput: It was never migrated.
    """
    with psycopg.connect(dsn) as conn:
        if not _exists(conn, "schema_migrations"):
            raise InvalidInput("the database holds no schema yet; there is nothing to back up")
        return conn.execute("SELECT name, sha256 FROM schema_migrations ORDER BY name").fetchall()


def require_free(dsn: str, *, replace: bool) -> None:
    """
    Check that nobody uses the database and, unless `replace`, that nothing would be lost.

    Raises:
        StackError: Others are connected.
        InvalidInput: It holds conversations or adapters.
    """
    with psycopg.connect(dsn) as conn:
        others = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename IS NOT NULL AND pid <> pg_backend_pid()
        """
        if n_others := _one(conn, others):
            raise StackError(f"{n_others} others use the database; stop the services, then restore")
        for table in ("conversations", "adapters"):
            if replace or not _exists(conn, table):
                continue
            if _one(conn, f"SELECT EXISTS (SELECT FROM public.{table})"):  # noqa: S608 - our own names
                raise InvalidInput(
                    f"the database holds {table} already; restore with --replace to lose them"
                )


def restore_database(dsn: str, draft: Path, manifest: Manifest, folders: dict[str, Path]) -> None:
    """
    Put the dump in `draft` in place of what the database holds, whole or not at all.

    Rows come to name the files where `folders` are now.

    Raises:
        StackError: It failed, and the database is as it was.
    """
    pgtools.run_tool(
        "pg_restore", "", "--no-owner", "--no-privileges", f"--file={draft / 'dump.sql'}",
        str(draft / DUMP),
    )  # fmt: skip
    (draft / "empty.sql").write_text(EMPTY_SCHEMA)
    (draft / "moves.sql").write_text(_moves(manifest, folders))
    scripts = [f"--file={draft / name}.sql" for name in ("empty", "dump", "moves")]
    options = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1")
    pgtools.run_tool("psql", dsn, *options, *scripts)


def _moves(manifest: Manifest, folders: dict[str, Path]) -> str:
    """Return the statements that make rows name the files where they lie now."""
    columns = {
        "adapters": [("adapters", "path")],
        "datasets": [("datasets", "path")],
        "uploads": [("documents", "uri"), ("turn_passages", "uri")],
    }
    statements = [
        sql.SQL(
            "UPDATE public.{table} SET {column} = {new} || substr({column}, {start}) "
            "WHERE starts_with({column}, {old});"
        ).format(
            table=sql.Identifier(table),
            column=sql.Identifier(column),
            old=f"{manifest.folders[name]}/",
            new=f"{folder}/",
            start=len(manifest.folders[name]) + 2,
        )
        for name, folder in folders.items()
        if manifest.folders.get(name) not in (None, str(folder))
        for table, column in columns[name]
    ]
    return "\n".join(statement.as_string() for statement in statements)


def _exists(conn: Connection[Any], table: str) -> bool:
    return _one(conn, "SELECT to_regclass(%s)", f"public.{table}") is not None


def _one(conn: Connection[Any], statement: str, *params: object) -> Any:
    row = conn.execute(statement.encode(), params or None).fetchone()
    assert row is not None  # each of these yields one row
    return row[0]
