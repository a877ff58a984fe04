"""Doors that show and measure: demo, bench, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Json, print_json

app = typer.Typer()
evaluations = typer.Typer(help="Judge a part of the product by questions of your own.")

BENCHES = ("chat", "swap", "feedback", "retrieval", "model")


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
            f"{result.n_corrections} corrected.\n"
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
    """Measure one group of figures: chat, swap, feedback, retrieval or model."""
    from importlib import import_module

    from bench.report import show
    from core.errors import InvalidInput
    from core.settings import get_settings

    if name not in BENCHES:
        raise InvalidInput(f"no bench is called {name!r}; there are {', '.join(BENCHES)}")
    rows = import_module(f"bench.{name}").run(get_settings())
    show(name, rows, as_json_object=as_json)


@evaluations.command()
def retrieval(
    queries: Annotated[Path, typer.Argument(help='JSONL of {"question", "article"}.')],
    collection: str = "help",
    picture: Annotated[Path | None, typer.Option(help="Where to draw recall per leg.")] = None,
    as_json: Json = False,
) -> None:
    """Print recall, nDCG and MRR of each leg and of both fused, with 95 % intervals."""
    from contextlib import closing

    from cli.output import print_table
    from core.db import Database
    from core.settings import get_settings
    from retrieval.embed import get_embedder
    from retrieval.evaluate import evaluate_file

    settings = get_settings()
    drawn = picture or settings.home / "retrieval.png"
    with closing(Database(settings.dsn).open()) as db:
        found = evaluate_file(
            db, get_embedder(settings), queries, collection=collection, picture=drawn
        )
    if as_json:
        print_json(found)
        return
    metrics = [name for name in next(iter(found["legs"].values())) if name != "recall_curve"]
    rows = [[leg, *(_with_interval(of[m]) for m in metrics)] for leg, of in found["legs"].items()]
    print_table(["leg", *metrics], rows)
    if found["unknown"]:
        typer.echo(f"Not ingested: {', '.join(found['unknown'])}", err=True)
    typer.echo(f"Picture: {drawn}")


def _with_interval(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
