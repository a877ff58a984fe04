"""Commands that show the loop and measure the product: demo, bench."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import Json, print_json

app = typer.Typer()

BENCHES = ("chat", "swap", "feedback", "retrieval", "model", "training")


@app.command()
def demo(
    ratings: Annotated[int, typer.Option(min=20, help="How many simulated thumbs.")] = 300,
    as_json: Json = False,
) -> None:
    """Let simulated customers rate, retrain, gate and swap; draw the win rate before and after."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from core.settings import get_settings
    from examples import demo as play

    bars: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True), disable=as_json) as progress:

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=None)
            progress.update(bars[what], completed=done, total=total or None)

        result = play.run(get_settings(), ratings, on_progress)
    if as_json:
        print_json(result)
    else:
        typer.echo(
            f"{result.n_ratings} ratings, {result.n_liked} liked, "
            f"{result.n_corrections} corrected, {result.n_approved} of them approved.\n"
            f"Win rate on {result.n_heldout} held-out questions: "
            f"{result.win_rate_before:.0%} before, {result.win_rate_after:.0%} after.\n"
            f"Run {result.run_state}: live is {result.adapter_after or 'the base model'}."
        )
        for reason in result.reasons:
            typer.echo(f"  {reason}")
        typer.echo(f"Picture: {result.picture}")
    raise typer.Exit(0 if result.promoted else 1)


@app.command()
def bench(name: str, as_json: Json = False) -> None:
    """Measure one group of figures: chat, swap, feedback, retrieval, model or training."""
    from importlib import import_module

    from bench.report import show
    from core.errors import InvalidInput
    from core.settings import get_settings

    if name not in BENCHES:
        raise InvalidInput(f"no bench is called {name!r}; there are {', '.join(BENCHES)}")
    rows = import_module(f"bench.{name}").run(get_settings())
    show(name, rows, as_json_object=as_json)
