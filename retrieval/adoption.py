"""Which way to search is in use: what the settings say, or what won an evaluation; SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from core import audit
from core.audit import Action
from core.errors import InvalidInput
from core.settings import Settings
from retrieval.options import SearchOptions, in_words


def current_options(conn: Connection[Any], settings: Settings) -> SearchOptions:
    """Return how the chat searches now; one row is read, so that each question may ask."""
    sql = "SELECT options FROM search_options ORDER BY id DESC LIMIT 1"
    row = conn.execute(sql).fetchone()
    return SearchOptions.of(settings).changed(row[0] if row else {})


def can_adopt(in_use: SearchOptions, result: Mapping[str, Any] | None) -> bool:
    """Return whether an evaluation speaks, beyond chance, for others than the options in use."""
    against = (result or {}).get("against") or {}
    # An evaluation of an older version doesn't tell who won, and so decides nothing.
    return bool(result and against.get("won") and result["settings"] == in_use.figures)


def adopt(
    conn: Connection[Any],
    settings: Settings,
    evaluation_id: UUID,
    result: Mapping[str, Any],
    *,
    actor: str,
) -> SearchOptions:
    """
    Bring the other settings of an evaluation into use and return the options that hold now.

    `result` is the evaluation as its job's row holds it. The caller owns the transaction; the
    audit log has a line of it.

    Raises:
        InvalidInput: The other settings did not win beyond chance, or not against those that
            are in use now.
    """
    _wait_for_others(conn)
    in_use = current_options(conn, settings)
    if not can_adopt(in_use, result):
        raise InvalidInput(
            "this evaluation found nothing that beats the settings in use now; evaluate again"
        )
    adopted = in_use.changed(result["against"]["settings"])
    _append(conn, settings, adopted, actor, result["against"]["verdict"], evaluation_id)
    return adopted


def return_to_settings(conn: Connection[Any], settings: Settings, *, actor: str) -> None:
    """
    Bring what the settings say back into use; the caller owns the transaction.

    Raises:
        InvalidInput: It is in use.
    """
    _wait_for_others(conn)
    usual = SearchOptions.of(settings)
    if current_options(conn, settings) == usual:
        raise InvalidInput("the chat searches as the settings say already")
    _append(conn, settings, usual, actor, "back to the settings", None)


def _wait_for_others(conn: Connection[Any]) -> None:
    """Let one person at a time change what is in use: each decides by what the last one left."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('search_options', 0))")


def _append(
    conn: Connection[Any],
    settings: Settings,
    options: SearchOptions,
    actor: str,
    reason: str,
    evaluation_id: UUID | None,
) -> None:
    # Only what differs is stored: a setting that is changed later still has its effect.
    figures = options.differences(SearchOptions.of(settings))
    sql = """
        INSERT INTO search_options (options, actor, reason, evaluation_id)
        VALUES (%s, %s, %s, %s)
    """
    conn.execute(sql, (Jsonb(figures), actor, reason, evaluation_id))
    subject = in_words(figures) or "the settings"
    audit.record(conn, actor, Action.SEARCH_OPTIONS_CHANGED, subject, evaluation=str(evaluation_id))
