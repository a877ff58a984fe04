"""Fixtures for attacks: the whole web app in its own process, and those who come to it."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from core.settings import ROOT
from tests.served import make_adapter, stack_settings, vllm, vllm_settings
from tests.web import PASSWORD, visitor_in

__all__ = ["make_adapter", "stack_settings", "vllm", "vllm_settings"]

HTML = {"accept": "text/html"}


@pytest.fixture(scope="package")
def web(start_web, short_tmp):
    """The web app alone, as a company would reach it, with limits that tests don't reach."""
    own = {
        "allowed_origins": "https://shop.example.com",
        "hosts": "127.0.0.1, help.example.com",
        "limit_calls": "100000/minute",
        "limit_calls_per_address": "100000/minute",
        "max_connections_per_address": 60,
        "limit_requests_per_address": "100000/minute",
        "limit_sign_ins_per_address": "1000/minute",
    }
    with start_web(short_tmp / "attacked", **own) as running:
        yield running


class Visitor(httpx.Client):
    """A browser as far as the server can tell: one cookie, and calls of the page's functions."""

    def call(self, fn_index, *data, page="", event=None, session="abc", **more):
        """Call a function of a page and return the answer to the call."""
        body = {"fn_index": fn_index, "data": list(data), "session_hash": session}
        return self.post(
            f"{page}/gradio_api/queue/join", json={**body, "event_data": event, **more}
        )

    def results(self, page="", session="abc"):
        """Return what the stream of a window tells, up to its end."""
        path = f"{page}/gradio_api/queue/data"
        with self.stream("GET", path, params={"session_hash": session}) as answer:
            if answer.status_code != 200:
                return []
            lines = [line for line in answer.iter_lines() if line.startswith("data:")]
        return [json.loads(line[5:]) for line in lines]

    @property
    def id(self):
        """The visitor's id."""
        return visitor_in(self.cookies["ratchet"])


@pytest.fixture
def nobody(web):
    """A function that gives a client that has never been here."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            Visitor(base_url=web.url, timeout=20, **{"headers": {}, **options})
        )


@pytest.fixture
def visitor(nobody):
    """Somebody who has opened the chat page."""
    client = nobody()
    client.get("/")
    return client


@pytest.fixture
def admin(nobody):
    """A browser signed in to the desk."""
    client = nobody()
    assert 303 == client.post("/desk/login", data={"password": PASSWORD}).status_code
    return client


@pytest.fixture(scope="package")
def inventory(web):
    """The routes and functions that the app really has; see inventory.py."""
    script = Path(__file__).with_name("inventory.py")
    command = [sys.executable, str(script), str(web.settings.home), web.settings.database_url]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="package")
def pages(inventory):
    """The numbers of both pages' functions, by mount path: {name: number}."""
    return {
        page: {name: each["number"] for name, each in functions.items()}
        for page, functions in inventory["functions"].items()
    }


@pytest.fixture
def secret_file(web):
    """A file of the home that nobody may read, and what stands in it."""
    path = Path(web.settings.home) / "session-secret"
    return path, path.read_text()


def eventually(condition, within_s=5.0):
    """Wait until something is so; return whether it came to be."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return found
