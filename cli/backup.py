"""Commands that save everything that can't be made again into one file, and bring it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from core.settings import Settings

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A new file; only you can read it.")],
    as_json: Json = False,
) -> None:
    """Save database, adapters, datasets, uploads and secrets in one file."""
    from core.settings import get_settings
    from stack.backup import back_up

    with _shown_steps(quiet=as_json) as on_step:
        written = back_up(get_settings(), file, on_step)
    if as_json:
        print_json(written)
    else:
        typer.echo(f"{written.path}: {written.files} files, {written.bytes / 2**20:.1f} MiB.")
        typer.echo("It holds secrets and customers' words: keep it where only you can read it.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `ratchet backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose the conversations and adapters that are here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring back what a backup holds; the stack must be stopped."""
    from core.settings import get_settings
    from migrations.apply import read_migrations
    from stack.backup import restore as bring_back

    with _shown_steps(quiet=as_json) as on_step:
        restored = bring_back(
            get_settings(),
            file,
            replace=replace,
            known=[(migration.name, migration.sha256) for migration in read_migrations()],
            migrate=_migrate,
            on_step=on_step,
        )
    if as_json:
        print_json(restored)
    else:
        typer.echo(f"Restored as of {restored.made_at}: {restored.files} files.")


def _migrate(settings: Settings) -> list[str]:
    from migrations.apply import apply

    return apply(settings.dsn)


def _shown_steps(*, quiet: bool) -> AbstractContextManager[Callable[[str], None]]:
    """Show with a spinner what is being done."""
    from contextlib import contextmanager

    from rich.console import Console

    @contextmanager
    def shown() -> Iterator[Callable[[str], None]]:
        with Console(stderr=True, quiet=quiet).status("starting") as spinner:
            yield lambda step: spinner.update(f"{step} …")

    return shown()
