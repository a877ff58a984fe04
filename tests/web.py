"""The web app alone, in its own process, on a database of its own."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from uuid import uuid4

import httpx
import psycopg

from core.settings import ROOT

START_S = 90
PASSWORD = "open the desk, please"


@contextmanager
def fresh_database(host, template):
    """The DSN of a new database copied from `template`, dropped at the end."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(f"host={host} dbname=postgres user=postgres", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"host={host} dbname={name} user=postgres"
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_web(settings):
    """The web app with these settings, answering at the address yielded."""
    given = settings.model_dump(include=settings.model_fields_set)
    own = {f"RATCHET_{name.upper()}": str(value) for name, value in given.items()}
    server = subprocess.Popen([sys.executable, "-m", "bot.app"], env=os.environ | own, cwd=ROOT)
    url = f"http://127.0.0.1:{settings.web_port}"
    try:
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=15)


def sign_in(page, url, tab):
    """Open a tab of the desk as the admin."""
    page.goto(f"{url}/desk/login")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("tab", name=tab).click()
    return page


def _wait_for(url, server):
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(f"{url}/style.css", timeout=5)
        except httpx.HTTPError:
            assert server.poll() is None, f"the web app ended with {server.returncode}"
            assert time.monotonic() < deadline, "the web app does not answer"
            time.sleep(0.1)
        else:
            return
