"""Fixtures for tests that search: the packaged embedding model, loaded once."""

import pytest

from core.settings import Settings
from retrieval.embed import get_embedder


@pytest.fixture(scope="session")
def embedder():
    """The packaged MiniLM."""
    return get_embedder(Settings(_env_file=None))
