"""Which way to search is in use: what the settings say, or what won an evaluation."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from core.settings import Settings
from retrieval.options import SearchOptions


def current_options(conn: Connection[Any], settings: Settings) -> SearchOptions:
    """Return how the chat searches now."""
    return SearchOptions.of(settings)
