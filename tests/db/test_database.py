"""The pool of connections: Postgres away and back, and what may fail while it is there."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.db import Database
from core.errors import (
    DatabaseConflict,
    DatabaseError,
    DatabaseFull,
    DatabaseTimeout,
    DatabaseUnavailable,
)

N_IDLE = 8


@pytest.fixture
def full_pool(dsn):
    """A pool that holds eight idle connections."""
    with ThreadPoolExecutor(N_IDLE) as threads:
        opened = Database(dsn, max_size=N_IDLE).open()

        def use(_):
            with opened.connect() as conn:
                conn.execute("SELECT pg_sleep(0.3)")  # so that each needs one of its own

        list(threads.map(use, range(N_IDLE)))
    yield opened
    opened.close()


def end_all(dsn):
    """End every other session, as a restart of the server does; return how many there were."""
    sql = """
        SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    with psycopg.connect(dsn) as conn:
        return conn.execute(sql).fetchone()[0]


def test_the_first_request_after_a_restart_of_postgres_is_answered(full_pool, dsn):
    """The pool's own waiting between eight dead connections is longer than a person waits."""
    assert N_IDLE == end_all(dsn)

    with full_pool.connect() as conn:
        assert (1,) == conn.execute("SELECT 1").fetchone()


def test_all_requests_after_a_restart_of_postgres_are_answered(full_pool, dsn):
    """Customers come at once, not one after the other."""
    end_all(dsn)

    def ask(_):
        with full_pool.connect() as conn:
            return conn.execute("SELECT 1").fetchone()[0]

    with ThreadPoolExecutor(N_IDLE) as threads:
        assert [1] * 16 == list(threads.map(ask, range(16)))


def test_a_postgres_that_is_away_is_said_within_two_seconds(tmp_path):
    """A person waits for the line that says so."""
    away = Database(f"host={tmp_path} dbname=none user=postgres").open()
    start = time.monotonic()

    with pytest.raises(DatabaseUnavailable, match="can't be reached"), away.connect():
        pass

    assert time.monotonic() - start < 2.5
    away.close()


def execute(database, *steps):
    """Run statements, and calls between them, in one transaction."""
    with database.connect() as conn:
        for step in steps:
            if callable(step):
                step()
            else:
                conn.execute(step)


@pytest.mark.parametrize("after", [["SELECT 1"], []], ids=["statement", "commit"])
def test_a_connection_that_ends_in_the_middle_is_a_lost_one(database, dsn, after):
    """Whether the next statement finds out or the commit."""
    with pytest.raises(DatabaseUnavailable, match="can't be reached"):
        execute(database, "SELECT 1", lambda: end_all(dsn), *after)


def test_a_query_that_takes_too_long_is_not_a_lost_connection(database):
    """Who reads "can't be reached" looks for a fault where none is."""
    with pytest.raises(DatabaseTimeout, match="took too long"):
        execute(database, "SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)")

    database.require()


def test_rows_that_stay_locked_are_said_to_be(database):
    """The other change will end."""
    lock = "LOCK TABLE documents"
    with database.connect() as first:
        first.execute(lock)
        with pytest.raises(DatabaseTimeout, match="same rows"):
            execute(database, "SET LOCAL lock_timeout = '20ms'", lock)


def test_a_deadlock_undoes_one_of_two_and_says_to_try_again(database):
    """Both wait for each other, which no waiting ends."""
    both_hold = threading.Barrier(2)

    def lock(first, second):
        with database.connect() as conn:
            conn.execute("SET LOCAL deadlock_timeout = '50ms'")
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [first])
            both_hold.wait(timeout=10)
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [second])

    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(lock, 1, 2).exception, threads.submit(lock, 2, 1).exception]
        errors = [error for end in ends if (error := end(timeout=20))]

    assert [DatabaseConflict] == [type(error) for error in errors]
    assert "try again" in str(errors[0])


def test_a_change_that_came_between_says_to_try_again(database):
    """What a transaction saw and is no longer so must not be written over."""
    execute(database, "CREATE TABLE counter AS SELECT 1 AS n")

    with pytest.raises(DatabaseConflict, match="came between"):
        execute(
            database,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SELECT n FROM counter",
            lambda: execute(database, "UPDATE counter SET n = 2"),
            "UPDATE counter SET n = 3",
        )


@pytest.mark.parametrize(
    ("state", "kind", "line"),
    [
        ("53100", DatabaseFull, "disk is full"),
        ("53200", DatabaseFull, "no memory left"),
        ("53300", DatabaseUnavailable, "can't be reached"),
        ("57P03", DatabaseUnavailable, "can't be reached"),
        ("08006", DatabaseUnavailable, "can't be reached"),
        ("58030", DatabaseError, "the database failed \\(disk on fire\\)"),
    ],
)
def test_what_postgres_runs_out_of_is_named(database, state, kind, line):
    """Each is mended elsewhere; Postgres itself raises the state here, for want of a full disk."""
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'disk on fire' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(kind, match=line) as caught, database.connect() as conn:
        conn.execute(sql)

    assert kind is type(caught.value)


def test_a_fault_of_the_statement_is_not_the_databases(database):
    """A bug must not read as an outage."""
    with pytest.raises(psycopg.errors.UndefinedTable), database.connect() as conn:
        conn.execute("SELECT * FROM nowhere")
