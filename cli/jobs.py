"""Commands on jobs of all kinds: list them, cancel one."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated
from uuid import UUID

import typer

from cli.output import Json, print_json, print_table
from cli.people import ACTOR

app = typer.Typer()


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many lines.")] = 20,
    as_json: Json = False,
) -> None:
    """List ingests, evaluations and trainings, newest first."""
    from core.db import Database
    from core.jobs import list_jobs
    from core.settings import get_settings

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        found = list_jobs(conn, limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ["job", "kind", "state", "phase", "attempt", "asked for", "error"],
        [
            [j.id, j.kind, j.state.value, j.phase, j.attempt, f"{j.created_at:%F %T}", j.error]
            for j in found
        ],
    )


@app.command()
def cancel(job: UUID, as_json: Json = False) -> None:
    """End a job: one that waits at once, one that runs within seconds; what it stored stays."""
    from core.db import Database
    from core.jobs import cancel_job
    from core.settings import get_settings

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        cancelled = cancel_job(conn, job, ACTOR)
    if as_json:
        print_json(cancelled)
    else:
        is_over = not cancelled.is_open
        typer.echo(f"{cancelled.kind} {job}: {'cancelled' if is_over else 'ends within seconds'}.")
