"""The one door into every desk handler: who is asking is checked before anything is done."""

from __future__ import annotations

from uuid import UUID

import gradio as gr

from bot.door import friendly
from bot.web.people import require_admin


def require_desk(request: gr.Request) -> UUID:
    """
    Return the admin's id; refuse everybody else with one line and nothing more.

    Gradio answers calls to "private" handlers from any client, so each handler asks here first.
    """
    with friendly():
        return require_admin(request)
