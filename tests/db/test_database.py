"""The pool of connections after Postgres went away and came back."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.db import Database
from core.errors import DatabaseUnavailable

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
