"""How well the demo model answers, refuses, follows up and learns a taste, and at what speed."""

from __future__ import annotations

from contextlib import closing

from bench.model_answers import company_answer_rows
from bench.model_public import public_answer_rows
from bench.model_speed import speed_rows
from bench.model_taste import taste_rows
from bench.report import Row
from core.db import Database
from core.settings import Settings
from core.vllm import VllmClient


def run(settings: Settings) -> list[Row]:
    """Measure through the running stack's retrieval and vLLM, always with the base model."""
    rows: list[Row] = []
    with (
        closing(Database(settings.dsn).open()) as database,
        closing(VllmClient(settings.vllm_base_url, settings.vllm_key)) as vllm,
    ):
        rows += company_answer_rows(settings, database, vllm)
        rows += public_answer_rows(settings, vllm)
        rows += speed_rows(settings, database, vllm)
        rows += taste_rows(settings, database, vllm)
    return rows
