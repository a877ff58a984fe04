"""Commands of the learning loop: retrain, adapters, promote, rollback, eject."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from cli.output import Json, print_json, print_table
from cli.people import ACTOR

if TYPE_CHECKING:
    from core.db import Database
    from core.types import Deployment, Serving, TrainingRun

app = typer.Typer()

PROMOTE_WAIT_S = 60.0  # a worker looks every few seconds, and loading takes less than one


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
    from core.base_model import read_base_model
    from core.settings import get_settings

    with closing(_database()) as db, db.connect() as conn:
        now = learning.serving(conn, read_base_model(get_settings().model))
        rows = learning.list_adapters(conn)
        tainted = learning.tainted_adapters(conn)
    if as_json:
        known = {"live": now.adapter, "adapters": rows, "tainted": sorted(tainted)}
        print_json(known | {"resting": now.resting, "why": now.why})
        return
    print_table(
        ["", "adapter", "rank", "made", "sha256", ""],
        [
            [
                _place(a.name, now),
                a.name,
                a.rank,
                f"{a.created_at:%F %T}",
                a.sha256[:12],
                "learned from ejected feedback" if a.name in tainted else "",
            ]
            for a in rows
        ],
    )
    if now.adapter is None:
        typer.echo(f"Live is the base model. {now.why}".rstrip())


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="An adapter of `ratchet adapters`, or `base`.")],
    overrule: Annotated[
        bool, typer.Option("--overrule", help="Also against what the gate found, or without it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an adapter, or the base model, live once the model servers have it."""
    from core.settings import get_settings
    from training import deploy, promotion

    with closing(_database()) as db:
        with db.connect() as conn:
            asked = promotion.request_promotion(
                conn, get_settings(), name, actor="command", overrule=overrule
            )
        with _waiting(f"waiting for a worker to bring {name} live", is_quiet=as_json):
            deployment = deploy.wait_until_live(db, asked.id, PROMOTE_WAIT_S)
    _say_deployed(deployment, as_json=as_json)


@app.command()
def rollback(as_json: Json = False) -> None:
    """Go back at once to what was live before; no run goes live until you promote."""
    from core.settings import get_settings
    from training import promotion

    with closing(_database()) as db, db.connect() as conn:
        deployment = promotion.request_rollback(conn, get_settings(), actor="command")
    _say_deployed(deployment, as_json=as_json)


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


def _place(name: str, now: Serving) -> str:
    return {now.adapter: "live", now.resting: "rests"}.get(name, "")


def _no_run(is_new: bool) -> str:
    if is_new:
        return "A run is active; one without this person follows it."
    return "A run without this person was requested already, or follows the one that is active."


def _database() -> Database:
    from core.db import Database
    from core.settings import get_settings

    return Database(get_settings().dsn).open()


def _say_deployed(deployment: Deployment, *, as_json: bool) -> None:
    if as_json:
        print_json(deployment)
        return
    typer.echo(f"Live is now {deployment.adapter_name or 'the base model'}.")
    if deployment.hold:
        typer.echo("No run puts anything live by itself until `ratchet promote NAME`.")


def _waiting(message: str, *, is_quiet: bool) -> AbstractContextManager[object]:
    from rich.console import Console

    return Console(stderr=True, quiet=is_quiet).status(message)


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
