"""Commands that judge a part of the product by questions: eval retrieval, eval queries."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, print_json, print_table
from core.types import HELP

if TYPE_CHECKING:
    from core.settings import Settings
    from retrieval.figures import Comparison, Evaluation
    from retrieval.metrics import Difference, Estimate
    from retrieval.options import Scope
    from retrieval.queries import JudgedQuery

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
    collection: str = HELP,
    picture: Annotated[Path | None, typer.Option(help="Where to draw recall per leg.")] = None,
    as_json: Json = False,
) -> None:
    """Print recall, nDCG and MRR of each leg and of both fused, with 95 % intervals."""
    from core.settings import get_settings
    from retrieval.options import Scope, parse_figures
    from retrieval.queries import read_queries
    from retrieval.recall_picture import draw_recall

    figures = parse_figures(against) if against else {}
    settings = get_settings()
    asked = read_queries(queries)
    scope = replace(Scope.of(settings), collections=(collection,))
    drawn = picture or settings.home / "retrieval.png"
    found = _evaluate(settings, asked, scope, figures, quiet=as_json)
    draw_recall(found, drawn)
    if as_json:
        print_json({"queries": queries, **found.to_json(), "picture": drawn})
    else:
        _print_figures(found)
        typer.echo(f"Picture: {drawn}")


def _evaluate(
    settings: Settings,
    asked: list[JudgedQuery],
    scope: Scope,
    figures: dict[str, float],
    *,
    quiet: bool,
) -> Evaluation:
    """Search as the chat does now, and with these figures changed if there are any."""
    from rich.console import Console
    from rich.progress import Progress

    from core.db import Database
    from retrieval.adoption import current_options
    from retrieval.embed import get_embedder
    from retrieval.evaluate import evaluate

    with (
        closing(Database(settings.dsn).open()) as db,
        Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar,
    ):
        db.require()  # says so within two seconds; loading the embedder takes longer
        with db.connect() as conn:
            options = current_options(conn, settings)
        other = options.changed(figures) if figures else None
        task = bar.add_task("searching", total=None)
        return evaluate(
            db,
            get_embedder(settings),
            asked,
            options,
            scope,
            against=other,
            on_progress=lambda done, of, _: bar.update(task, completed=done, total=of),
        )


@app.command(name="queries")
def make_queries(
    out: Annotated[Path, typer.Option(help="The new file, JSON lines for `eval retrieval`.")],
    collection: str = HELP,
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


def _print_figures(found: Evaluation) -> None:
    from retrieval.recall_picture import LEG_NAMES

    metrics = list(found.legs["fused"].metrics)
    typer.echo(f"{found.n_queries} questions; below each figure its 95 % interval\n")
    rows = [
        [_name(m), *(_with_interval(leg.metrics[m]) for leg in found.legs.values())]
        for m in metrics
    ]
    print_table(["", *(LEG_NAMES[leg] for leg in found.legs)], rows)
    if found.against:
        _print_comparison(found, found.against)
    if found.unknown:
        typer.echo(f"Not ingested: {', '.join(found.unknown)}", err=True)


def _print_comparison(found: Evaluation, against: Comparison) -> None:
    now, other = found.legs[found.final].metrics, against.legs[against.final].metrics
    rows = [
        [
            _name(m),
            f"{now[m].value:.3f}",
            f"{other[m].value:.3f}",
            _with_interval(difference, sign="+"),
            f"{difference.p:.2g}",
        ]
        for m, difference in against.differences.items()
    ]
    print_table(["what the chat finds", "in use", "other", "difference", "p"], rows)
    typer.echo(f"{against.verdict}\n")


def _name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric)


def _with_interval(figure: Estimate | Difference, sign: str = "") -> str:
    value, low, high = (
        format(number, f"{sign}.3f") for number in (figure.value, figure.low, figure.high)
    )
    return f"{value}\n{low} – {high}\n"
