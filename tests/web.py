"""The web app in a process of its own: alone, or beside the stack's own."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import psycopg

from core.db import Database
from core.settings import ROOT, Settings
from tests.wire import held_wire

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


@dataclass(frozen=True)
class Web:
    """A running web app."""

    url: str
    settings: Settings
    database: Database

    @contextmanager
    def again(self, **others):
        """A second one on the same database, with other settings; its address."""
        others = {"web_port": free_port(), **others}
        settings = self.settings.model_copy(update=others)
        settings.model_fields_set.update(others)
        with running_web(settings) as url:
            yield url


@contextmanager
def web_alone(host, template, home, **own):
    """The web app on a database of its own; at the model's port nobody listens."""
    with fresh_database(host, template) as dsn:
        settings = Settings(
            home=home,
            database_url=dsn,
            web_port=free_port(),
            vllm_url="http://127.0.0.1:9",
            admin_password=PASSWORD,
            _env_file=None,
            **own,
        )
        with closing(Database(dsn).open()) as database, running_web(settings) as url:
            yield Web(url, settings, database)


@contextmanager
def web_that_holds(stack):
    """A second web app on the stack; its answers stand still in the middle until they are left."""
    with held_wire(stack.settings.vllm_base_url, hold_after=1500) as vllm_url:
        settings = Settings(
            home=stack.settings.home,
            web_port=free_port(),
            **stack.vllm | {"vllm_url": vllm_url},
            _env_file=None,
        )
        with closing(Database(settings.dsn).open()) as database, running_web(settings) as url:
            yield Web(url, settings, database)


def free_port():
    """A TCP port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def visitor_in(cookie):
    """The visitor's id in a cookie, read as only the server may."""
    payload = cookie.strip('"').split(".")[0]
    return UUID(json.loads(base64.b64decode(payload + "=="))["visitor"])


def visitor_of(page):
    """The visitor's id of a browser's page."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    return visitor_in(cookies["ratchet"])


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
