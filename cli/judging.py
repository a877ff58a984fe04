"""Doors that judge a part of the product by questions: eval retrieval, eval queries."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Json, print_json, print_table

app = typer.Typer(help="Judge a part of the product by questions of your own.")

METRIC_NAMES = {"ndcg@10": "nDCG@10", "mrr": "MRR"}


@app.command()
def retrieval(
    queries: Annotated[
        Path, typer.Argument(help='JSONL of {"question", "article", optionally "previous"}.')
    ],
    against: Annotated[
        str, typer.Option(help="Other settings to compare with: rrf_k=60,text_weight=1")
    ] = "",
    collection: str = "help",
    picture: Annotated[Path | None, typer.Option(help="Where to draw recall per leg.")] = None,
    as_json: Json = False,
) -> None:
    """Print recall, nDCG and MRR of each leg and of both fused, with 95 % intervals."""
    from rich.console import Console
    from rich.progress import Progress

    from core.db import Database
    from core.settings import get_settings
    from retrieval.embed import get_embedder
    from retrieval.evaluate import evaluate_file
    from retrieval.tuning import Tuning

    other = Tuning.parse(against) if against else None
    settings = get_settings()
    drawn = picture or settings.home / "retrieval.png"
    with (
        closing(Database(settings.dsn).open()) as db,
        Progress(console=Console(stderr=True), disable=as_json, transient=True) as bar,
    ):
        db.require()  # says so within two seconds; loading the embedder takes longer
        task = bar.add_task("searching", total=None)
        found = evaluate_file(
            db,
            get_embedder(settings),
            queries,
            collection=collection,
            picture=drawn,
            against=other,
            on_progress=lambda done, of, _: bar.update(task, completed=done, total=of),
        )
    if as_json:
        print_json(found)
    else:
        _print_figures(found)


@app.command(name="queries")
def make_queries(
    out: Annotated[Path, typer.Option(help="The new file, JSON lines for `eval retrieval`.")],
    collection: str = "help",
    as_json: Json = False,
) -> None:
    """Make a query set from liked answers and from reviews; it holds customers' own words."""
    from core.db import Database
    from core.settings import get_settings
    from retrieval.queries import write_queries
    from retrieval.query_sets import queries_from_turns

    with closing(Database(get_settings().dsn).open()) as db, db.connect() as conn:
        found = queries_from_turns(conn, collection)
    write_queries(out, found)
    n_reviewed = sum(query.source == "review" for query in found)
    n_liked = len(found) - n_reviewed
    if as_json:
        print_json({"out": out, "from_good_turns": n_liked, "from_reviews": n_reviewed})
    else:
        typer.echo(f"{n_liked} questions from liked answers, {n_reviewed} from reviews: {out}")


def _print_figures(found: dict[str, Any]) -> None:
    from retrieval.recall_picture import LEG_NAMES

    legs: dict[str, dict[str, Any]] = found["legs"]
    metrics = [name for name in legs["fused"] if name != "recall_curve"]
    typer.echo(f"{found['n_queries']} questions; below each figure its 95 % interval\n")
    rows = [[_name(m), *(_with_interval(of_leg[m]) for of_leg in legs.values())] for m in metrics]
    print_table(["", *(LEG_NAMES[leg] for leg in legs)], rows)
    if "against" in found:
        _print_comparison(found, metrics)
    if found["unknown"]:
        typer.echo(f"Not ingested: {', '.join(found['unknown'])}", err=True)
    typer.echo(f"Picture: {found['picture']}")


def _print_comparison(found: dict[str, Any], metrics: list[str]) -> None:
    against = found["against"]
    now, other = found["legs"][found["final"]], against["legs"][against["final"]]
    rows = [
        [
            _name(m),
            f"{now[m]['value']:.3f}",
            f"{other[m]['value']:.3f}",
            _with_interval(against["differences"][m], sign="+"),
            f"{against['differences'][m]['p']:.2g}",
        ]
        for m in metrics
    ]
    print_table(["what the chat finds", "in use", "other", "difference", "p"], rows)
    typer.echo(f"{against['verdict']}\n")


def _name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric)


def _with_interval(figure: dict[str, float], sign: str = "") -> str:
    value, low, high = (format(figure[name], f"{sign}.3f") for name in ("value", "low", "high"))
    return f"{value}\n{low} – {high}\n"
