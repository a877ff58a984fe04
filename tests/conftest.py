"""Fixtures: a real Postgres with a fresh database for each test, a whole stack, a browser."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from core.db import Database
from core.settings import ROOT, Settings
from migrations.apply import apply
from stack import postgres
from tests.web import free_port, web_alone

TEMPLATE = "ratchet_template"
MEMORY = Path("/dev/shm")  # a database is copied there in 10 ms, on a disk in 300 ms


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the page tests last: Playwright keeps an event loop running once it has begun."""
    items.sort(key=lambda item: "playwright" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def short_tmp():
    """A folder with a short path (unix sockets must fit into 107 bytes), in memory if it can be."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * 2**30
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir=MEMORY if roomy else "/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_host(short_tmp):
    """The socket folder of a Postgres that lives as long as the test session."""
    data = short_tmp / "pg"
    postgres.prepare_data_folder(data)
    command = postgres.server_command(data, "fsync=off", "synchronous_commit=off")
    with (short_tmp / "postgres.log").open("wb") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **postgres.identity())
    _wait_for_postgres(f"host={data} dbname=postgres user=postgres", server)
    yield data
    server.send_signal(signal.SIGINT)  # fast shutdown: clients are disconnected
    server.wait(timeout=30)


def _wait_for_postgres(dsn, server):
    deadline = time.monotonic() + 30
    while why := postgres.answers(dsn):
        assert server.poll() is None, f"Postgres ended with {server.returncode}"
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


@pytest.fixture(scope="session")
def template_database(postgres_host):
    """A migrated database that the others are copied from."""
    _execute(postgres_host, f"CREATE DATABASE {TEMPLATE}")
    apply(f"host={postgres_host} dbname={TEMPLATE} user=postgres")
    return TEMPLATE


def _execute(host, statement):
    with psycopg.connect(f"host={host} dbname=postgres user=postgres", autocommit=True) as conn:
        conn.execute(statement)


@pytest.fixture
def empty_dsn(postgres_host):
    """The DSN of a new database without tables."""
    name = f"test_{uuid4().hex}"
    _execute(postgres_host, f"CREATE DATABASE {name}")
    yield f"host={postgres_host} dbname={name} user=postgres"
    _execute(postgres_host, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def dsn(postgres_host, template_database):
    """The DSN of a new migrated database."""
    name = f"test_{uuid4().hex}"
    _execute(postgres_host, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield f"host={postgres_host} dbname={name} user=postgres"
    _execute(postgres_host, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(dsn):
    """An open Database on a new migrated database."""
    opened = Database(dsn).open()
    yield opened
    opened.close()


@pytest.fixture
def conn(database):
    """A connection in one transaction, committed when the test ends well."""
    with database.connect() as connection:
        yield connection


@pytest.fixture
def settings(tmp_path, request):
    """Settings whose home is the test's own folder; with `dsn` in use, on that database."""
    url = request.getfixturevalue("dsn") if "dsn" in request.fixturenames else ""
    return Settings(home=tmp_path / "home", database_url=url, _env_file=None)


@dataclass(frozen=True)
class Stack:
    """A running local stack and the environment that makes `ratchet` speak to it."""

    settings: Settings
    env: dict[str, str]

    @property
    def vllm(self):
        """The settings by which others use this stack's vLLM."""
        return {"vllm_url": self.settings.vllm_base_url, "vllm_api_key": self.settings.vllm_key}

    @property
    def url(self):
        """The page's address, without a trailing slash."""
        return f"http://127.0.0.1:{self.settings.web_port}"

    def ratchet(self, *args, timeout_s=300):
        """Run one command to its end and return its exit code, stdout and stderr."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *args],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


@pytest.fixture(scope="session")
def stack():
    """The whole local stack, started like a person does; once per session, on its own ports."""
    home = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    own = {
        "home": home,
        "web_port": free_port(),
        "admin_password": "a password for tests",
        "retrain_min_new_pairs": 1_000_000,  # a test says itself when to train
    }
    env = os.environ | {f"RATCHET_{name.upper()}": str(value) for name, value in own.items()}
    running = Stack(Settings(**own, _env_file=None), env)
    try:
        started = running.ratchet("up", "--detach", timeout_s=900)
        assert started.returncode == 0, f"{started.stderr}\n{_log_ends(home)}"
        yield running
    finally:
        running.ratchet("down")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def start_web(postgres_host, template_database):
    """A function: `with start_web(home, **settings) as web` runs the web app alone."""
    return partial(web_alone, postgres_host, template_database)


@pytest.fixture
def lock(monkeypatch):
    """Make a folder one that can't be listed, also for root."""
    really = os.scandir

    def close(folder):
        def scandir(path):
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(path))
            return really(path)

        monkeypatch.setattr("os.scandir", scandir)

    return close


def _log_ends(home):
    return "\n".join(
        f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        for log in sorted(home.glob("logs/*.log"))
    )


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Chromium from the system; root has no sandbox for it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, "no Chromium on the PATH; `make test` installs it or says how"
    return {**browser_type_launch_args, "executable_path": path, "args": ["--no-sandbox"]}
