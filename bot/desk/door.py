"""The one door into every desk handler: who is asking is checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import gradio as gr

from bot.accounts import require_admin
from bot.door import friendly


@contextmanager
def admin_door(request: gr.Request) -> Iterator[UUID]:
    """
    Yield the admin's id; refuse everybody else before anything is read or written.

    Gradio answers calls to "private" handlers from any client, so each handler opens this door
    itself. What goes wrong inside reaches the page as one line.
    """
    with friendly():
        yield require_admin(request)
