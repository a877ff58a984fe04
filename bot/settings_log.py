"""Notes in the audit log which settings differ from those of the start before."""

from __future__ import annotations

import hmac
import logging
from typing import Any

from psycopg import Connection

from core import audit
from core.audit import Action
from core.db import Database
from core.errors import DatabaseError
from core.secrets import renewed_names
from core.settings import Settings

# Of these it is told that they changed, never what they are; a URL may hold a password.
SECRET = {
    "admin_password",
    "session_secret",
    "metrics_token",
    "vllm_api_key",
    "database_url",
    "broker_url",
    "vllm_url",
}
log = logging.getLogger("ratchet.web")


def note_settings(database: Database, settings: Settings) -> None:
    """
    Append a line when a setting changed, and once a line on the secrets that were made anew.

    With Postgres away both are noted at the next start.
    """
    now = notable_settings(settings)
    try:
        with database.connect() as conn:
            # Of two starts at once the second sees what the first noted.
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('settings log', 0))")
            before = _last(conn)
            changed = {name: value for name, value in now.items() if before.get(name) != value}
            if changed:
                names = ", ".join(sorted(changed)) if before else "first start"
                audit.record(conn, "operator", Action.SETTINGS_CHANGED, names, settings=now)
            _note_renewed(conn, renewed_names(settings.home))
    except DatabaseError as exc:
        log.warning("settings not noted: %s", exc)


def notable_settings(settings: Settings) -> dict[str, str]:
    """Return the settings as text, for those that are secret a keyed hash."""
    given = {name: str(getattr(settings, name)) for name in type(settings).model_fields}
    key = settings.secret("session-secret")  # with another one, all that are given show as changed
    return {n: _mark(key, n, value) if n in SECRET else value for n, value in given.items()}


def _mark(key: str, name: str, value: str) -> str:
    if not value:
        return ""
    return hmac.new(key.encode(), f"{name}={value}".encode(), "sha256").hexdigest()[:12]


def _note_renewed(conn: Connection[Any], names: list[str]) -> None:
    sql = "SELECT EXISTS (SELECT FROM audit_log WHERE action = %s)"
    known = conn.execute(sql, (Action.SECRETS_RENEWED.value,)).fetchone()
    if names and known == (False,):
        audit.record(conn, "ratchet", Action.SECRETS_RENEWED, ", ".join(names))


def _last(conn: Connection[Any]) -> dict[str, str]:
    sql = "SELECT details -> 'settings' FROM audit_log WHERE action = %s ORDER BY id DESC LIMIT 1"
    row = conn.execute(sql, (Action.SETTINGS_CHANGED.value,)).fetchone()
    return row[0] if row else {}
