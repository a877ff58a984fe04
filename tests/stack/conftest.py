"""Fixtures for tests on the whole stack: one real vLLM for the session, adapters to load."""

import itertools
import os
import socket
import subprocess
import time

import psycopg
import pytest

from core.settings import Settings
from core.stack.programs import vllm_command, vllm_environment
from core.vllm import VllmClient
from tests.adapters import write_adapter

VLLM_START_S = 180


def free_port():
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def vllm_url(short_tmp):
    """The address of a real vLLM that serves the demo model, for the whole session."""
    settings = Settings(home=short_tmp, vllm_port=free_port(), _env_file=None)
    environment = {**os.environ, **vllm_environment(settings), "VLLM_NO_USAGE_STATS": "1"}
    with (short_tmp / "vllm.log").open("wb") as log:
        server = subprocess.Popen(
            vllm_command(settings), env=environment, stdout=log, stderr=log, start_new_session=True
        )
    client = VllmClient(settings.vllm_base_url)
    deadline = time.monotonic() + VLLM_START_S
    while not client.healthy():
        log_tail = (short_tmp / "vllm.log").read_text()[-2000:]
        assert server.poll() is None, f"vLLM ended with {server.returncode}: {log_tail}"
        assert time.monotonic() < deadline, log_tail
        time.sleep(0.2)
    client.close()
    yield settings.vllm_base_url
    os.killpg(server.pid, 15)
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, 9)
        server.wait()


@pytest.fixture
def vllm(vllm_url):
    """A client of the session's vLLM."""
    client = VllmClient(vllm_url)
    yield client
    client.close()


ADAPTER_VERSIONS = itertools.count(1000, 1000)  # tests share a vLLM, and names are used once


@pytest.fixture
def stack_settings(tmp_path, dsn, vllm_url):
    """Settings on a fresh database, a folder of the test's own, and the session's vLLM."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT setval('adapter_version', %s)", [next(ADAPTER_VERSIONS)])
    yield Settings(
        home=tmp_path / "home",
        database_url=dsn,
        vllm_url=vllm_url,
        lease_s=10,
        _env_file=None,
    )
    client = VllmClient(vllm_url)
    for name in client.adapters():
        client.unload_adapter(name)
    client.close()


@pytest.fixture
def make_adapter(tmp_path):
    """A function that writes a small random adapter for the demo model into a new folder."""

    def make(name="adapter", seed=0, rank=8, size=0.02):
        return write_adapter(tmp_path / name, seed=seed, rank=rank, size=size)

    return make
