"""Commands of the local stack: up, down, status, doctor, migrate."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings

app = typer.Typer()


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return once all answers.")] = False,
    as_json: Json = False,
) -> None:
    """Start everything on this machine and print the page's address."""
    from core.settings import get_settings
    from stack import health, local

    settings = get_settings()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)  # as Ctrl-C: nothing stays behind
    with _shown_steps(quiet=as_json) as on_step:
        is_new = local.up(settings, migrate=_migrate, fill=_fill, load=_load, on_step=on_step)
    url, password_file = health.page_url(settings), settings.home / "admin-password"
    if as_json:
        print_json({"url": url, "started": is_new, "admin_password_file": password_file})
    else:
        typer.echo(f"{'Ready' if is_new else 'Already running'}: {url}")
        where = "set by RATCHET_ADMIN_PASSWORD" if settings.admin_password else password_file
        typer.echo(f"Desk: {url}/desk, password {where}")
    if is_new and not detach:
        typer.echo("Ctrl-C stops everything.")
        _stay(settings)


@app.command()
def down(as_json: Json = False) -> None:
    """Stop everything that `up` started; no process remains."""
    from core.settings import get_settings
    from stack import local

    settings = get_settings()
    was_present = local.is_present(settings)
    n_leftovers = local.down(settings)
    if as_json:
        print_json({"was_running": was_present, "leftovers": n_leftovers})
    else:
        typer.echo("Stopped." if was_present else "Nothing was running.")


@app.command()
def status(as_json: Json = False) -> None:
    """Show how each service is doing; exits 1 unless all are healthy."""
    from core.settings import get_settings
    from stack import health

    settings = get_settings()
    found = health.status(settings)
    if as_json:
        print_json(found)
    else:
        print_table(
            ["service", "state", "pid", "up for", "restarts", ""],
            [
                [s.name, s.state, s.pid or "", f"{s.uptime_s:.0f} s", s.restarts, s.detail]
                for s in found.services
            ],
        )
        typer.echo(f"{'All healthy' if found.healthy else 'Not healthy'}: {found.url}")
        if found.healthy and (why := _why_rests(settings)):
            typer.echo(why)
    raise typer.Exit(0 if found.healthy else 1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this machine and the settings; exits 1 when something would keep `up` from working."""
    from core.settings import get_settings
    from stack import checks, supervisor

    settings = get_settings()
    found = checks.run_checks(settings, is_running=supervisor.is_running(settings))
    ok = not any(check.problem and check.blocks_start for check in found)
    if as_json:
        print_json({"ok": ok, "checks": found})
    else:
        print_table(
            ["", "check", "found", "what to do"],
            [
                [_mark(check.problem, check.blocks_start), check.name, check.found, check.problem]
                for check in found
            ],
        )
    raise typer.Exit(0 if ok else 1)


@app.command()
def migrate(as_json: Json = False) -> None:
    """Bring the database's schema up to date."""
    from core.settings import get_settings
    from migrations.apply import apply

    applied = apply(get_settings().dsn)
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo("\n".join(applied) or "The schema is up to date.")


def _why_rests(settings: Settings) -> str:
    """Return why the live adapter does not answer, if another base model is set than its own."""
    from contextlib import closing

    from core.base_model import read_base_model
    from core.db import Database
    from core.errors import DatabaseError
    from core.learning import serving

    try:
        with closing(Database(settings.dsn).open()) as db, db.connect() as conn:
            return serving(conn, read_base_model(settings.model)).why
    except DatabaseError:  # the table says that it is away
        return ""


def _mark(problem: str, blocks_start: bool) -> str:
    return ("✗" if blocks_start else "!") if problem else "✓"


def _migrate(settings: Settings) -> str:
    from migrations.apply import apply

    applied = apply(settings.dsn)
    return f"{len(applied)} applied" if applied else "up to date"


def _fill(settings: Settings) -> str:
    from cli.knowledge import ingest_first_articles

    return ingest_first_articles(settings)


def _load(settings: Settings) -> str:
    """Load the live adapter now; the workers' next look would let the first customers wait."""
    from contextlib import closing

    from core.db import Database
    from core.errors import AdapterError
    from training import deploy

    with closing(Database(settings.dsn).open()) as db:
        for _ in range(2):  # a worker may load it at the same moment; the second look finds it
            try:
                return ", ".join(deploy.bring(db, settings))
            except AdapterError as exc:
                problem = str(exc)
    return f"without the live adapter: {problem}"


def _stay(settings: Settings) -> None:
    from stack import local

    try:
        local.wait(settings)
    except KeyboardInterrupt:
        typer.echo("Stopping …")
    finally:
        local.down(settings)


def _shown_steps(*, quiet: bool) -> Any:
    """Show each step with a spinner while it lasts, and what came of it."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.markup import escape

    @contextmanager
    def shown() -> Iterator[Any]:
        console = Console(stderr=True, quiet=quiet)
        with console.status("starting") as spinner:

            def on_step(name: str, result: str) -> None:
                if result:
                    console.print(f"[green]✓[/green] {name:<11}{escape(result)}", highlight=False)
                else:
                    spinner.update(f"{name} …")

            yield on_step

    return shown()
