"""The door into every handler of the chat page: errors become one line, ids are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, ParamSpec
from uuid import UUID

import gradio as gr

from core.errors import RatchetError

# Which component gets which value. At run time Gradio reads the handlers' type hints, so what
# they name must be importable there.
Update = dict[Any, Any]
P = ParamSpec("P")
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@contextmanager
def friendly() -> Iterator[None]:
    """Turn an expected error into one line on the page; what the handler returns is lost."""
    try:
        yield
    except RatchetError as exc:
        raise gr.Error(_line(exc), title="Not done", print_exception=False) from exc


def forgiving(handler: Callable[P, Update]) -> Callable[P, Update]:
    """Wrap a handler: an expected error becomes one line, and the page stays as it is."""

    @functools.wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> Update:
        try:
            return handler(*args, **kwargs)
        except RatchetError as exc:
            say(exc)
            nothing: Update = gr.skip()
            return nothing

    return run


def say(problem: RatchetError) -> None:
    """Show what went wrong as one line on the page, never as a traceback."""
    gr.Warning(_line(problem), title="Not done")


def _line(problem: RatchetError) -> str:
    line = str(problem)
    return escape(f"{line[:1].upper()}{line[1:]}.")


def conversation_id(value: str) -> UUID | None:
    """Return the open conversation's id; None for a new one and for what is no id."""
    try:
        return UUID(value)
    except ValueError:
        return None
