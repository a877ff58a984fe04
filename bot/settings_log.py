"""Notes in the audit log which settings differ from those of the start before."""

from __future__ import annotations

import logging
from typing import Any

from psycopg import Connection

from core import audit
from core.audit import Action
from core.db import Database
from core.errors import DatabaseUnavailable
from core.settings import Settings

SECRET = ("password", "secret", "key", "token", "url")  # a URL may hold a password
log = logging.getLogger("ratchet.web")


def note_settings(database: Database, settings: Settings) -> None:
    """Append a line when a setting changed; with Postgres away it is noted at the next start."""
    now = open_settings(settings)
    try:
        with database.connect() as conn:
            before = _last(conn)
            changed = {name: value for name, value in now.items() if before.get(name) != value}
            if changed:
                names = ", ".join(sorted(changed)) if before else "first start"
                audit.record(conn, "operator", Action.SETTINGS_CHANGED, names, settings=now)
    except DatabaseUnavailable as exc:
        log.warning("settings not noted: %s", exc)


def open_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that are no secret, as text."""
    given = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {name: str(v) for name, v in given.items() if not any(s in name for s in SECRET)}


def _last(conn: Connection[Any]) -> dict[str, str]:
    sql = "SELECT details -> 'settings' FROM audit_log WHERE action = %s ORDER BY id DESC LIMIT 1"
    row = conn.execute(sql, (Action.SETTINGS_CHANGED.value,)).fetchone()
    return row[0] if row else {}
