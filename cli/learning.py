"""Commands of the learning loop: retrain, adapters, promote, rollback, eject."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cli.output import Json, print_json, print_table
from cli.people import ACTOR

if TYPE_CHECKING:
    from core.db import Database
    from core.types import TrainingRun

app = typer.Typer()


@app.command()
def retrain(
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Request a training run; with --wait exits 0 if promoted, 1 if rejected, 11 if failed."""
    from core import audit, learning
    from core.audit import Action
    from core.db import Database
    from core.errors import TrainingError
    from core.settings import get_settings
    from core.types import RunState

    with closing(Database(get_settings().dsn).open()) as db:
        with db.connect() as conn:
            run = learning.request_run(conn, "command")
            if run:
                audit.record(conn, ACTOR, Action.TRAINING_REQUESTED, run.id)
        if run is None:
            raise TrainingError("a training run is active already; see `ratchet adapters`")
        if wait:
            run = _follow(db, run, is_quiet=as_json)
    if as_json:
        print_json(run)
    else:
        typer.echo(f"Run {run.id}: {run.state.value}. {' '.join(run.reasons)} {run.error}".rstrip())
    codes = {RunState.REJECTED: 1, RunState.FAILED: TrainingError.exit_code}
    raise typer.Exit(codes.get(run.state, 0))


@app.command()
def adapters(as_json: Json = False) -> None:
    """List the adapters, the live one marked."""
    from core import learning
    from core.db import Database
    from core.settings import get_settings

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        live, rows = learning.live_adapter(conn), learning.list_adapters(conn)
        tainted = learning.tainted_adapters(conn)
    if as_json:
        print_json({"live": live, "adapters": rows, "tainted": sorted(tainted)})
        return
    print_table(
        ["", "adapter", "rank", "made", "sha256", ""],
        [
            [
                "live" if a.name == live else "",
                a.name,
                a.rank,
                f"{a.created_at:%F %T}",
                a.sha256[:12],
                "learned from ejected feedback" if a.name in tainted else "",
            ]
            for a in rows
        ],
    )
    if live is None:
        typer.echo("Live is the base model.")


@app.command()
def promote(name: str, as_json: Json = False) -> None:
    """Make an adapter the live one after smoke questions through the server."""
    from core.settings import get_settings
    from training.deploy import promote as make_live

    with closing(_database()) as db:
        deployment = make_live(db, get_settings(), name, actor="command")
    _say_deployed(deployment.adapter_name, deployment, as_json=as_json)


@app.command()
def rollback(as_json: Json = False) -> None:
    """Go back to what was live before, in one row."""
    from core.settings import get_settings
    from training.deploy import rollback as go_back

    with closing(_database()) as db:
        deployment = go_back(db, get_settings(), actor="command")
    _say_deployed(deployment.adapter_name, deployment, as_json=as_json)


@app.command()
def eject(
    rater: UUID,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Take one person's feedback out of all learning, and what learned from it out of service."""
    from core.settings import get_settings
    from training.eject import eject as take_out

    with closing(_database()) as db:
        done = take_out(db, get_settings(), rater, actor="command", reason=reason)
    if as_json:
        print_json(done)
        return
    typer.echo(f"{'Ejected' if done.is_new else 'Was ejected before'}: rater {rater}.")
    if done.tainted:
        typer.echo(f"Learned from ejected feedback: {', '.join(done.tainted)}.")
    if done.stepped_back:
        typer.echo(f"Live is now {done.live or 'the base model'}.")
    typer.echo(f"Run {done.run_id} is queued." if done.run_id else _no_run(done.is_new))


def _no_run(is_new: bool) -> str:
    if is_new:
        return "A run is active; one without this person follows it."
    return "A run without this person was requested already, or follows the one that is active."


def _database() -> Database:
    from core.db import Database
    from core.settings import get_settings

    return Database(get_settings().dsn).open()


def _say_deployed(name: str | None, deployment: object, *, as_json: bool) -> None:
    if as_json:
        print_json(deployment)
    else:
        typer.echo(f"Live is now {name or 'the base model'}.")


def _follow(db: Database, run: TrainingRun, *, is_quiet: bool) -> TrainingRun:
    """Show the run's progress until it is final; Ctrl-C leaves the run going."""
    from rich.console import Console
    from rich.progress import Progress

    from core import learning

    with Progress(console=Console(stderr=True), disable=is_quiet) as progress:
        bar = progress.add_task("queued", total=None)
        while not run.state.is_final:
            time.sleep(0.5)
            with db.connect() as conn:
                run = learning.get_run(conn, run.id)
            seen = run.progress
            progress.update(
                bar,
                description=run.state.value,
                completed=seen.get("step", 0),
                total=seen.get("total_steps"),
            )
    return run
