"""Postgres's own tools, no secret in their arguments; the embedded server while it is needed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from core.errors import ConfigurationError, DatabaseUnavailable, StackError
from core.settings import Settings
from stack import postgres

DATABASE = "ratchet"
START_TIMEOUT_S = 60.0
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")  # of our environment: no secret of ours
CAUSE = re.compile(r"\b(error|fatal|panic): ", re.IGNORECASE)


def libpq_environment(dsn: str) -> dict[str, str]:
    """
    Return the environment in which Postgres's tools connect to `dsn`.

    Arguments can be read by every user of the machine, an environment only by its owner.

    >>> libpq_environment("postgresql://a:secret@db/r")["PGPASSWORD"]
    'secret'

    Raises:
        ConfigurationError: `dsn` can't be read, or says what no variable can.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error as exc:
        raise ConfigurationError("RATCHET_DATABASE_URL can't be read; correct it") from exc
    variables = {o.keyword.decode(): o.envvar for o in pq.Conninfo.get_defaults()}
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    for keyword, value in given.items():
        variable = variables.get(keyword)
        if variable is None:
            raise ConfigurationError(f"RATCHET_DATABASE_URL: leave out {keyword}")
        env[variable.decode()] = str(value)
    return env


def run_tool(name: str, dsn: str, *args: str) -> None:
    """
    Run one of Postgres's tools on the database to its end.

    Raises:
        StackError: It failed; the text holds the line that says why.
    """
    done = subprocess.run(
        [str(postgres.bin_dir() / name), *args],
        env=libpq_environment(dsn) if dsn else {},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        causes = [line for line in words if CAUSE.search(line)]
        raise StackError(f"{name} failed: {(causes or words[-1:])[0][:300]}")


@contextmanager
def database(settings: Settings, *, make: bool = False) -> Iterator[str]:
    """
    Yield the DSN of the product's database, running the embedded server meanwhile if need be.

    With `make` a missing data folder and database are made.

    Raises:
        DatabaseUnavailable: There is no database, or it can't be reached.
    """
    data = settings.home / "postgres"
    if settings.database_url or not postgres.answers(settings.dsn):
        _require(settings.dsn)
        yield settings.dsn
    elif not make and not (data / "PG_VERSION").exists():
        raise DatabaseUnavailable(f"there is no database in {data}; is RATCHET_HOME right?")
    else:
        admin_dsn = f"host={data} dbname=postgres user=postgres"
        with _embedded(settings, admin_dsn):
            if make:
                postgres.ensure_database(admin_dsn, DATABASE)
            _require(settings.dsn)
            yield settings.dsn


@contextmanager
def _embedded(settings: Settings, admin_dsn: str) -> Iterator[None]:
    data = settings.home / "postgres"
    postgres.prepare_data_folder(data)
    (settings.home / "logs").mkdir(mode=0o700, exist_ok=True)
    with (settings.home / "logs" / "postgres.log").open("ab") as log:
        server = subprocess.Popen(
            postgres.server_command(data), cwd=data, stdout=log, stderr=log, **postgres.identity()
        )
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while why_not := postgres.answers(admin_dsn):
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise StackError(f"Postgres did not start ({why_not}); see {log.name}")
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown: clients are disconnected
        server.wait()


def _require(dsn: str) -> None:
    if why_not := postgres.answers(dsn):
        raise DatabaseUnavailable(f"the database can't be reached: {why_not}")
