"""Commands that bring articles in and search them: ingest, search."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, print_json, print_table
from cli.people import ACTOR
from core.company import load_company
from core.types import EVERYONE, HELP

if TYPE_CHECKING:
    from core.settings import Settings
    from retrieval.ingest import IngestReport

app = typer.Typer()


@app.command()
def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="Files and folders of articles, addresses of websites.")
    ],
    collection: str = HELP,
    audience: Annotated[
        str, typer.Option(help="Who may read them: everyone, or a group such as staff.")
    ] = EVERYONE,
    as_json: Json = False,
) -> None:
    """Bring articles into the index; unchanged ones are skipped."""
    from core.settings import get_settings

    report = _ingest(get_settings(), sources, collection, audience, show_progress=not as_json)
    if as_json:
        print_json(report)
    else:
        typer.echo(_in_words(report))
        for problem in report.problems:
            named = problem.path in problem.reason
            typer.echo(problem.reason if named else f"{problem.path}: {problem.reason}", err=True)
    raise typer.Exit(9 if report.problems else 0)


@app.command()
def search(
    question: str,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 5,
    collection: str = HELP,
    as_json: Json = False,
) -> None:
    """Show the passages that an answer to a question would be given."""
    from core.db import Database
    from core.settings import get_settings
    from retrieval.adoption import current_options
    from retrieval.embed import get_embedder
    from retrieval.options import Scope
    from retrieval.search import search as find_passages

    settings = get_settings()
    with closing(Database(settings.dsn).open()) as db:
        db.require()  # says so within two seconds; loading the embedder takes longer
        with db.connect() as conn:
            options = replace(current_options(conn, settings), limit=limit)
        scope = replace(Scope.of(settings), collections=(collection,))
        found = find_passages(db, get_embedder(settings), question, options, scope)
    passages = found.passages if found.relevant else []
    if as_json:
        print_json(passages)
    elif not passages:
        typer.echo(f"Nothing relevant was found: {found.why}.")
    else:
        rows = [[p.rank, f"{p.similarity:.2f}", p.title, p.heading, p.body] for p in passages]
        print_table(["", "cosine", "article", "heading", "passage"], rows)


def ingest_first_articles(settings: Settings) -> str:
    """Ingest the company's articles unless an earlier start did, and say what came of it."""
    from core.db import Database

    articles, done = load_company(settings.company).articles, settings.home / "first-articles"
    with closing(Database(settings.dsn).open()) as db, db.connect() as conn:
        has_some = bool(conn.execute("SELECT 1 FROM documents LIMIT 1").fetchone())
    if has_some and done.exists():
        return "ingested earlier"
    if not articles.is_dir():
        return f"none in {articles}"
    report = _ingest(settings, [str(articles)], HELP, EVERYONE, show_progress=False)
    done.touch()  # only now: an interrupted first ingest is finished by the next start
    return _in_words(report)


def _ingest(
    settings: Settings,
    sources: list[str],
    collection: str,
    audience: str,
    *,
    show_progress: bool,
) -> IngestReport:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from core import audit
    from core.audit import Action
    from core.db import Database
    from retrieval.embed import get_embedder
    from retrieval.ingest import IngestProgress
    from retrieval.ingest import ingest as bring_in
    from retrieval.links import without_query

    console = Console(stderr=True)
    with (
        closing(Database(settings.dsn).open()) as db,
        Progress(console=console, disable=not show_progress) as bar,
    ):
        task = bar.add_task("reading", total=None)

        def on_progress(now: IngestProgress) -> None:
            name = now.path.rstrip("/").rsplit("/", 1)[-1]
            bar.update(task, completed=now.n_done, total=now.n_files, description=escape(name))

        db.require()
        embedder = get_embedder(settings)
        noted = {"sources": [without_query(source) for source in sources], "audience": audience}
        with db.connect() as conn:
            audit.record(conn, ACTOR, Action.INGEST_REQUESTED, collection, **noted)
        return bring_in(
            db,
            embedder,
            sources,
            collection=collection,
            audience=audience,
            chunk_tokens=settings.chunk_tokens,
            on_progress=on_progress,
        )


def _in_words(report: IngestReport) -> str:
    counts = {name: getattr(report, name) for name in ("added", "changed", "removed", "unchanged")}
    said = [f"{n} {name}" for name, n in counts.items() if n]
    if report.problems:
        said.append(f"{len(report.problems)} unreadable")
    return f"{', '.join(said) or 'no articles'}; {report.n_chunks} passages"
