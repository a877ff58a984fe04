"""Fixtures for tests of learning: the stack's own vLLM, a fresh database, adapters to load."""

import itertools
import time

import psycopg
import pytest

from core.settings import Settings
from core.vllm import VllmClient
from tests.adapters import write_adapter

HEALED_WITHIN_S = 90


@pytest.fixture
def vllm_settings(stack):
    """Address and key of the stack's vLLM, which a test before may have killed."""
    url = stack.settings.vllm_base_url
    client = VllmClient(url, stack.settings.vllm_key)
    deadline = time.monotonic() + HEALED_WITHIN_S
    while not client.healthy():
        assert time.monotonic() < deadline, f"no vLLM at {url}"
        time.sleep(0.2)
    client.close()
    return stack.vllm


@pytest.fixture
def vllm(vllm_settings):
    """A client of the session's vLLM."""
    client = VllmClient(vllm_settings["vllm_url"], vllm_settings["vllm_api_key"])
    yield client
    client.close()


ADAPTER_VERSIONS = itertools.count(1000, 1000)  # tests share a vLLM, and names are used once


@pytest.fixture
def stack_settings(tmp_path, dsn, vllm, vllm_settings):
    """Settings on a fresh database, a folder of the test's own, and the session's vLLM."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT setval('adapter_version', %s)", [next(ADAPTER_VERSIONS)])
    others = vllm.adapters()
    yield Settings(
        home=tmp_path / "home",
        database_url=dsn,
        **vllm_settings,
        lease_s=10,
        _env_file=None,
    )
    for name in vllm.adapters() - others:
        vllm.unload_adapter(name)


@pytest.fixture
def make_adapter(tmp_path):
    """A function that writes a small random adapter for the demo model into a new folder."""

    def make(name="adapter", seed=0, rank=8, size=0.02):
        return write_adapter(tmp_path / name, seed=seed, rank=rank, size=size)

    return make
