"""The admin's pages behind a password: one Blocks with a tab for each."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from bot.desk.cards import PLAIN, load_cards
from bot.desk.knowledge import KnowledgePage
from bot.desk.learning import LearningPage
from bot.desk.quality import QualityPage
from bot.desk.review import ReviewPage
from bot.services import Services

__all__ = ["build_desk"]

HERE = Path(__file__).parent


def build_desk(services: Services) -> gr.Blocks:
    """Return the desk; each handler asks again who calls it (see `bot.web.handlers`)."""
    style = (HERE / "desk.css").read_text(encoding="utf-8")
    keys = (HERE / "keys.js").read_text(encoding="utf-8")
    with gr.Blocks(title=f"Desk · {services.company}", analytics_enabled=False) as desk:
        gr.HTML(f"<style>{style}</style>", **PLAIN, elem_classes="desk-style")
        gr.HTML(load_cards("macros").desk_head(), **PLAIN)
        with gr.Tabs(elem_id="desk-tabs"):
            with gr.Tab("Review", id="review"):
                review = ReviewPage(services)
            with gr.Tab("Learning", id="learning"):
                learning = LearningPage(services)
            with gr.Tab("Knowledge", id="knowledge") as knowledge_tab:
                knowledge = KnowledgePage(services)
            with gr.Tab("Search quality", id="quality") as quality_tab:
                quality = QualityPage(services)
        review.fill(desk)
        learning.fill(desk)
        knowledge.fill(desk, knowledge_tab)
        quality.fill(desk, quality_tab)
        desk.load(None, None, None, js=keys)
    page: gr.Blocks = desk  # its type is lost in Gradio’s `with`
    return page
