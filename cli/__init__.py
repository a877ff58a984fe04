"""`ratchet …`: thin commands; each parses its arguments and calls one function elsewhere."""

from __future__ import annotations

import logging
import sys

import typer

from cli import asking, backup, jobs, judging, knowledge, learning, measure, people, stack

app = typer.Typer(
    name="ratchet",
    help="A support chatbot that learns from its thumbs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for room in (stack, backup, knowledge, asking, learning, jobs, measure, people):
    app.registered_commands += room.app.registered_commands
app.add_typer(judging.app, name="eval")


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and an exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # errors are shown once, below
    try:
        app()
    except Exception as exc:  # noqa: BLE001 - nothing is above it: everything becomes one line
        code, line = _explain(exc)
        print(f"ratchet: {line}", file=sys.stderr)
        raise SystemExit(code) from None


def _explain(exc: Exception) -> tuple[int, str]:
    from pydantic import ValidationError

    from core.errors import ConfigurationError, RatchetError

    if isinstance(exc, RatchetError):
        return exc.exit_code, str(exc)
    if isinstance(exc, ValidationError):
        first = exc.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        return ConfigurationError.exit_code, f"the setting RATCHET_{name}: {first['msg']}"
    return 1, f"{_keep_traceback(exc)} ({type(exc).__name__}: {exc})".replace("\n", " ")


def _keep_traceback(exc: Exception) -> str:
    """Write what only a developer needs into a file and say where it is."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="ratchet-", suffix=".log", delete=False) as report:
        traceback.print_exception(exc, file=report)
    return f"something unforeseen went wrong; please report {report.name}"
