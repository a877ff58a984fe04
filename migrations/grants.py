"""
Migrates a server's database, then sets the app's rights: `python -m migrations.grants ROLE`.

Run as the owner of the tables. There are no default privileges on purpose: a new table is
nobody's until this has run, and an append-only one is never writable in between.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg
from psycopg import Connection, sql

from core.db import first_line
from core.errors import MigrationError, RatchetError
from core.settings import get_settings
from migrations.apply import apply

ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE")
APPEND = ("SELECT", "INSERT")
READ = ("SELECT",)
# Where the app needs less than all rows: what was, stays as it was written.
LESS: dict[str, tuple[str, ...]] = {
    "audit_log": APPEND,
    "adapters": APPEND,
    "datasets": APPEND,
    # What was asked for, by whom and why stays; what became of it is written later.
    "deployments": (*APPEND, "UPDATE (state, failure, ready_at)"),
    "gate_reports": APPEND,
    "schema_migrations": READ,
    "search_options": APPEND,
}


def grant(dsn: str, role: str) -> None:
    """
    Give `role` rows but no tables: it may read and write, never create, alter or drop.

    What it was given before is taken back first, in the same transaction.

    Raises:
        MigrationError: There is no such role, or it owns tables; nothing was changed.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=5) as conn:
            _require_unprivileged(conn, role)
            _grant(conn, role)
    except psycopg.Error as exc:
        why = f"the rights of {role} could not be set: {first_line(exc)}"
        raise MigrationError(why) from exc


def _require_unprivileged(conn: Connection[Any], role: str) -> None:
    found = conn.execute(
        """
        SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls
               OR pg_has_role(oid, current_user, 'MEMBER')
        FROM pg_roles WHERE rolname = %s
        """,
        [role],
    ).fetchone()
    if found is None:
        raise MigrationError(f"the database has no role {role}; compose/roles.sql makes it")
    if found[0]:
        raise MigrationError(f"the role {role} can change tables; take a role without privileges")


def _grant(conn: Connection[Any], role: str) -> None:
    name = sql.Identifier(role)
    for statement in (
        "REVOKE ALL ON SCHEMA public FROM {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ):
        conn.execute(sql.SQL(statement).format(role=name))
    for table in _tables(conn):
        rights = sql.SQL(", ").join(map(sql.SQL, LESS.get(table, ROWS)))
        conn.execute(
            sql.SQL("GRANT {rights} ON public.{table} TO {role}").format(
                rights=rights, table=sql.Identifier(table), role=name
            )
        )


def _tables(conn: Connection[Any]) -> list[str]:
    """Return the tables and views that are ours, not an extension's."""
    found = conn.execute("""
        SELECT relname FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
        ORDER BY relname
    """)
    return [name for (name,) in found]


def main(role: str) -> int:
    """Bring the schema up to date and set the role's rights; print one line."""
    dsn = get_settings().dsn
    try:
        applied = apply(dsn)
        grant(dsn, role)
    except RatchetError as exc:
        print(f"migrate: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"{len(applied)} migrations applied; {role} may read and write rows.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
