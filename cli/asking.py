"""Commands that ask the chat and rate its answers: ask, rate, import-feedback."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

import typer

from cli.output import Json, print_json
from cli.people import ACTOR

if TYPE_CHECKING:
    from core.settings import Settings
    from core.types import Passage, Turn

app = typer.Typer()

# Who asks from a shell: turns asked here can be rated here, a customer's can't.
OPERATOR_ID = uuid5(NAMESPACE_URL, "ratchet:command-line")


@app.command()
def ask(
    question: str,
    conversation: Annotated[UUID | None, typer.Option(help="Go on in this conversation.")] = None,
    as_json: Json = False,
) -> None:
    """Ask the bot; the answer is stored like a customer's and can be rated."""
    from core.settings import get_settings

    turn, passages = asyncio.run(_ask(get_settings(), question, conversation, is_quiet=as_json))
    if as_json:
        print_json({"turn": turn, "passages": passages})
        return
    typer.echo()
    for passage in passages:
        typer.echo(f"  [{passage.rank}] {passage.place}", err=True)
    typer.echo(f"  turn {turn.id}, conversation {turn.conversation_id}", err=True)


@app.command()
def rate(
    turn: UUID,
    rating: Annotated[str, typer.Argument(help="up, down or cleared")],
    reason: Annotated[list[str] | None, typer.Option(help="Why; may be given again.")] = None,
    comment: str = "",
    correction: Annotated[str, typer.Option(help="What it should have said.")] = "",
    as_json: Json = False,
) -> None:
    """Rate an answer that `ratchet ask` gave; the thumb is stored before this says so."""
    from bot.chat import feedback
    from core import audit
    from core.audit import Action
    from core.db import Database
    from core.errors import InvalidInput
    from core.settings import get_settings
    from core.types import Rating, Reason

    try:
        thumb = Rating(rating)
        reasons = [Reason(name) for name in reason or ()]
    except ValueError as exc:
        known = f"ratings {', '.join(Rating)}; reasons {', '.join(Reason)}"
        raise InvalidInput(f"{exc}; known are {known}") from exc
    with closing(Database(get_settings().dsn).open()) as db:
        stored = feedback.rate(db, OPERATOR_ID, turn, thumb, reasons, comment)
        if correction:
            # Who has a shell here decides what is learned, as an admin does.
            feedback.correct(db, OPERATOR_ID, turn, correction, by_admin=True)
            with db.connect() as conn:
                audit.record(conn, ACTOR, Action.ANSWER_PREFERRED, turn)
    if as_json:
        print_json(stored)
    else:
        typer.echo(f"Stored: thumb {stored.rating.value} for turn {turn}.")


@app.command()
def import_feedback(
    path: Path,
    approved: Annotated[
        bool, typer.Option("--approved", help="The team has reviewed the corrections: learn them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring in thumbs and corrections from a JSONL file; bad lines are named, good ones kept."""
    from core.db import Database
    from core.settings import get_settings
    from training.import_feedback import import_feedback as bring_in

    settings = get_settings()
    with closing(Database(settings.dsn).open()) as db:
        report = bring_in(db, settings, path, approved=approved)
    if as_json:
        print_json(report)
    else:
        typer.echo(f"{report.n_imported} imported, {len(report.problems)} refused")
        for problem in report.problems:
            typer.echo(f"line {problem.line}: {problem.reason}", err=True)
    raise typer.Exit(9 if report.problems else 0)


async def _ask(
    settings: Settings, question: str, conversation_id: UUID | None, *, is_quiet: bool
) -> tuple[Turn, list[Passage]]:
    from answering.plan import Planner
    from bot.chat.service import ChatService, Finished, Token
    from core.db import Database
    from core.errors import ModelUnavailable

    with closing(Database(settings.dsn).open()) as db:
        chat = ChatService(Planner.of(settings, db))
        try:
            async for event in chat.answer(OPERATOR_ID, conversation_id, question):
                if isinstance(event, Token) and not is_quiet:
                    typer.echo(event.text, nl=False)
                elif isinstance(event, Finished):
                    return event.turn, event.passages
        finally:
            await chat.close()
    raise ModelUnavailable("the answer broke off; see `ratchet status`, then ask again")
