"""The local stack: it starts, heals itself, says how it is, and leaves nothing behind."""

import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import pytest

from core.settings import Settings
from stack.leftovers import find_leftovers
from tests.conftest import Stack
from tests.web import free_port

HEALED_WITHIN_S = 90


def services(stack):
    """What `status` says, by service name."""
    found = json.loads(stack.ratchet("status", "--json").stdout)
    return {service["name"]: service for service in found["services"]}


def wait_until_healthy(stack, within_s=HEALED_WITHIN_S):
    deadline = time.monotonic() + within_s
    while stack.ratchet("status", "--json").returncode:
        assert time.monotonic() < deadline, services(stack)
        time.sleep(0.5)


@pytest.fixture
def light_stack(stack):
    """A second stack that borrows the first one's vLLM, so that it starts in seconds."""
    home = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    own = {"home": home, "web_port": free_port(), **stack.vllm}
    env = os.environ | {f"RATCHET_{name.upper()}": str(value) for name, value in own.items()}
    light = Stack(Settings(**own, _env_file=None), env)
    yield light
    light.ratchet("down")
    shutil.rmtree(home, ignore_errors=True)


def test_everything_is_healthy_after_up(stack):
    """`up` returns only when a customer could ask."""
    wait_until_healthy(stack)
    found = services(stack)

    assert ["postgres", "redis", "vllm", "worker", "trainer", "beat", "web"] == list(found)
    assert all(psutil.pid_exists(service["pid"]) for service in found.values())
    assert 200 == httpx.get(stack.url, follow_redirects=True, timeout=30).status_code


def test_up_ingests_the_companys_articles(stack):
    """The first question must find something."""
    done = stack.ratchet("search", "How can I pay?", "--json")

    assert 0 == done.returncode, done.stderr
    assert json.loads(done.stdout)


def test_a_second_up_says_that_it_runs_already(stack):
    """People type it twice; nothing may be started twice."""
    done = stack.ratchet("up", "--detach")

    assert 0 == done.returncode, done.stderr
    assert f"Already running: {stack.url}" in done.stdout


def test_secrets_and_state_are_for_the_owner_only(stack):
    """Others on the machine must read neither the password nor the database."""
    home = stack.settings.home

    assert 0 == home.stat().st_mode & 0o066  # root's Postgres user may pass through, no more
    assert 0o700 == (home / "postgres").stat().st_mode & 0o777
    assert 0o700 == (home / "redis").stat().st_mode & 0o777
    assert 0o600 == (home / "session-secret").stat().st_mode & 0o777


def test_killed_programs_come_back(stack):
    """Nobody watches at night."""
    wait_until_healthy(stack)
    before = services(stack)
    for name in ("vllm", "trainer", "worker", "web"):
        os.kill(before[name]["pid"], signal.SIGKILL)

    wait_until_healthy(stack)

    after = services(stack)
    for name in ("vllm", "trainer", "worker", "web"):
        assert before[name]["restarts"] + 1 == after[name]["restarts"], name
        assert before[name]["pid"] != after[name]["pid"]
    # vLLM's engine outlives a killed server; two would not fit into memory for long.
    engines = [p for p in find_leftovers(stack.settings.home, "vllm") if "EngineCore" in p.name()]
    assert len(engines) <= 1


def test_down_leaves_no_process(light_stack):
    """Nothing may hold a port or memory afterwards."""
    started = light_stack.ratchet("up", "--detach")
    assert 0 == started.returncode, started.stderr

    assert "Stopped." in light_stack.ratchet("down").stdout

    assert [] == find_leftovers(light_stack.settings.home)


def test_down_finds_what_a_killed_supervisor_left(light_stack):
    """The one process that nobody restarts must not take the way out with it."""
    started = light_stack.ratchet("up", "--detach")
    assert 0 == started.returncode, started.stderr
    pid_file = light_stack.settings.home / "supervisor" / "supervisord.pid"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert "supervisor killed" in services(light_stack)["web"]["detail"]
    assert [] != find_leftovers(light_stack.settings.home)
    assert 0 == light_stack.ratchet("down").returncode

    assert [] == find_leftovers(light_stack.settings.home)


def test_a_model_that_cannot_be_loaded_is_one_line_and_nothing_runs(tmp_path):
    """A half stack that goes on trying in the background helps nobody."""
    home = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    (tmp_path / "config.json").write_text("{}")
    own = {"home": home, "model": str(tmp_path), "web_port": free_port()}
    env = os.environ | {f"RATCHET_{name.upper()}": str(value) for name, value in own.items()}
    broken = Stack(Settings(**own, _env_file=None), env)

    done = broken.ratchet("up", "--detach")
    left = find_leftovers(home)
    shutil.rmtree(home, ignore_errors=True)

    assert 3 == done.returncode, done.stderr
    assert "ratchet: vllm does not start: " in done.stderr.splitlines()[-1]
    assert "Unrecognized model" in done.stderr.splitlines()[-1]
    assert [] == left
