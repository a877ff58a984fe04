"""How the pages look: colours and fonts for Gradio; the rest is `style.css`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes

HERE = Path(__file__).parent
FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")


def style_sheet() -> str:
    """Return the style sheet that Gradio's pages and the plain ones share."""
    return (HERE / "style.css").read_text(encoding="utf-8")


def page_head() -> str:
    """Return what goes into the chat page's <head>: the drawer that citations open in."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return f"<script>{script}</script>"


def theme() -> Any:
    """Return Gradio's theme; every font is the reader's own, so nothing is fetched."""
    return gr.themes.Base(
        primary_hue=colors.teal,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_lg,
        font=FONT,
        font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
    ).set(
        body_background_fill="#faf9f6",
        body_background_fill_dark="#161513",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        block_border_width="0px",
        block_shadow="none",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
    )
