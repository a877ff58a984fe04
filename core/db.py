"""psycopg pools and per-connection set-up; driver errors become ours here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from core.errors import (
    DatabaseConflict,
    DatabaseError,
    DatabaseFull,
    DatabaseTimeout,
    DatabaseUnavailable,
)

CONNECT_TIMEOUT_S = 2.0  # a person waits: with Postgres away an error comes within two seconds
FIRST_TRY_S = 0.5
# What Postgres may fail at while the connection holds, by SQLSTATE (appendix A of its manual).
FAULTS: dict[str | None, tuple[type[DatabaseError], str]] = {
    "40001": (DatabaseConflict, "another change came between; try again"),
    "40P01": (DatabaseConflict, "two changes waited for each other and one was undone; try again"),
    "53100": (DatabaseFull, "the database's disk is full; make room, then try again"),
    "53200": (DatabaseFull, "the database has no memory left; free some, then try again"),
    "55P03": (DatabaseTimeout, "another change held the same rows for too long; try again"),
    "57014": (DatabaseTimeout, "a database query was cancelled or took too long; try again"),
}


class Database:
    """
    A pool of connections to one database.

    Open it after forking, close it when done. `connect()` yields one connection in one
    transaction: committed when the block ends, rolled back when it raises.
    """

    def __init__(self, dsn: str, *, max_size: int = 8) -> None:
        self._pool: ConnectionPool[Connection[Any]] = ConnectionPool(
            dsn,
            min_size=1,
            max_size=max_size,
            open=False,
            configure=_configure,
            check=ConnectionPool.check_connection,
            timeout=CONNECT_TIMEOUT_S,
            kwargs={"connect_timeout": 2},
        )

    def open(self) -> Database:
        """Start the pool's threads and return self; connections are made in the background."""
        self._pool.open(wait=False)
        return self

    def close(self) -> None:
        """Give all connections back and stop the pool's threads."""
        self._pool.close()

    def require(self) -> None:
        """Raise DatabaseUnavailable within two seconds when Postgres can't be reached."""
        with self.connect():
            pass

    @contextmanager
    def connect(self) -> Iterator[Connection[Any]]:
        """
        Yield a connection in a transaction.

        Raises:
            DatabaseUnavailable: Postgres can't be reached, or went away in the middle.
            DatabaseError: Postgres did not do it; its subclass and text say why.
        """
        try:
            conn = self._take()
            try:
                with conn:
                    yield conn
            finally:
                self._pool.putconn(conn)
        except psycopg.OperationalError as exc:
            raise _translated(exc) from exc

    def _take(self) -> Connection[Any]:
        """
        Take a connection out of the pool.

        After a restart of Postgres all that lie in the pool are dead, and the pool waits longer
        and longer between one dead connection and the next. So after a short time-out all are
        looked at together, then it is tried once more.
        """
        try:
            return self._pool.getconn(timeout=FIRST_TRY_S)
        except PoolTimeout:
            self._pool.check()
            return self._pool.getconn(timeout=CONNECT_TIMEOUT_S - FIRST_TRY_S)


def _translated(exc: psycopg.OperationalError) -> DatabaseError:
    """
    Return our error for one that the surroundings caused, not the statement itself.

    Only what ends the connection "can't be reached": errors without an SQLSTATE come from the
    client's side (the pool's time-out is one), class 08 is the connection, 57P the server's
    shutdown, 53300 a server that takes no more connections.
    """
    state = exc.sqlstate
    if kind := FAULTS.get(state):
        return kind[0](kind[1])
    if state is None or state == "53300" or state.startswith(("08", "57P")):
        return DatabaseUnavailable(
            "the database can't be reached; check `ratchet status`, then try again"
        )
    return DatabaseError(f"the database failed ({first_line(exc)}); see its log, then try again")


def first_line(exc: psycopg.Error) -> str:
    """Return what a driver's error says first; the lines after it are hints and contexts."""
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


def _configure(conn: Connection[Any]) -> None:
    # A database that is not migrated yet has no vector type; migrations run without it.
    if conn.execute("SELECT 1 FROM pg_type WHERE typname = 'vector'").fetchone():
        register_vector(conn)
        conn.execute("SET hnsw.iterative_scan = 'strict_order'")
        # recall@10 of the index 0.998 instead of 0.983 at the default 40, for half a millisecond
        conn.execute("SET hnsw.ef_search = 200")
        # what only one in ten thousand may read is still found, as many as there are
        conn.execute("SET hnsw.max_scan_tuples = 1000000")
    conn.commit()
