"""The door into every handler of the chat page: errors become one line, ids are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any
from uuid import UUID

import gradio as gr

from core.errors import RatchetError

# Which component gets which value. At run time Gradio reads the handlers' type hints, so what
# they name must be importable there.
Update = dict[Any, Any]
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@contextmanager
def friendly() -> Iterator[None]:
    """Show an expected error as one line on the page, never as a traceback."""
    try:
        yield
    except RatchetError as exc:
        raise gr.Error(escape(str(exc)), title="Not done", print_exception=False) from exc


def conversation_id(value: str) -> UUID | None:
    """Return the open conversation's id; None for a new one and for what is no id."""
    try:
        return UUID(value)
    except ValueError:
        return None
