"""Commands on who is signed in and who did what: sessions, audit."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated
from uuid import UUID

import typer

from cli.output import Json, print_json, print_table

app = typer.Typer()
ACTOR = "command line"


@app.command()
def sessions(
    end: Annotated[UUID | None, typer.Option(help="End this one: it must sign in again.")] = None,
    as_json: Json = False,
) -> None:
    """List who is signed in to the desk; with --end, end one session."""
    from core import audit
    from core.audit import Action
    from core.db import Database
    from core.sessions import end_session, list_sessions
    from core.settings import get_settings

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        if end is not None:
            end_session(conn, end)
            audit.record(conn, ACTOR, Action.SESSION_ENDED, end)
        open_now = list_sessions(conn)
    if as_json:
        print_json(open_now)
        return
    print_table(
        ["session", "who", "since", "until", "from", "browser"],
        [
            [s.id, s.person, f"{s.created_at:%F %T}", f"{s.expires_at:%F %T}", s.address,
             s.user_agent[:40]]
            for s in open_now
        ],
    )  # fmt: skip


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many lines.")] = 50,
    as_json: Json = False,
) -> None:
    """Show who did what, newest first; the log is only ever appended to."""
    from core.audit import list_entries
    from core.db import Database
    from core.settings import get_settings

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        entries = list_entries(conn, limit)
    if as_json:
        print_json(entries)
        return
    print_table(
        ["when", "who", "what", "which"],
        [[f"{e.happened_at:%F %T}", e.actor, e.action.value, e.subject] for e in entries],
    )
