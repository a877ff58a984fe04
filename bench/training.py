"""How much memory a training takes and how long its steps are, beside the plain setting."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from answering.prompt import build_messages
from answering.scoring import holds_facts
from answering.tokens import get_tokenizer
from bench.report import Row, at_most
from core.company import GoldenQuestion, load_company, read_golden
from core.settings import Settings
from core.types import Passage
from examples.customers import Preference, corrected
from retrieval.chunk import split
from retrieval.formats import parse_bytes
from retrieval.load import read_bytes
from training.child import events, training, write_config
from training.objectives import DPO, Objective

N_PAIRS = 100
N_STEPS = 25  # one round of the pairs: the longest prompt is met
MOST_PASSAGES = 8  # prompts of about 150 to 600 tokens
CHUNK_TOKENS = 120
WATCH_EVERY_S = 0.05
MOST_GIB = 2.5
SLOWEST = 1.2  # times the plain setting
# All rows of a batch at once, and what each step frees kept: the quickest without regard to memory.
PLAIN = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one training took: GiB at its peak, seconds of a processor per step."""

    rss_gib: float
    pss_gib: float
    step_s: float


def run(settings: Settings) -> list[Row]:
    """Train on the same hundred pairs twice, as the product does and plainly, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = [json.dumps(pair) + "\n" for pair in pairs(settings)]
        (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
        recipe = replace(DPO.recipe, min_steps=N_STEPS, n_epochs=1)
        ours = measure_training(settings, replace(DPO, recipe=recipe), folder, "ours")
        with patch.dict(os.environ, PLAIN):
            at_once = replace(DPO, recipe=replace(recipe, rows_at_once=recipe.batch_size))
            plain = measure_training(settings, at_once, folder, "plain")
    peer = f"plain: {plain.pss_gib:.2f}"
    return [
        at_most("peak PSS", ours.pss_gib, MOST_GIB, "GiB", peer=peer, n=len(lines)),
        Row("peak RSS", ours.rss_gib, "GiB", peer=f"plain: {plain.rss_gib:.2f}", n=len(lines)),
        Row("peak PSS beside plain", ours.pss_gib / plain.pss_gib, "times"),
        Row("a step", ours.step_s, "CPU s", peer=f"plain: {plain.step_s:.2f}", n=N_STEPS),
        at_most("a step beside plain", ours.step_s / plain.step_s, SLOWEST, "times"),
    ]


def measure_training(settings: Settings, objective: Objective, folder: Path, name: str) -> Taken:
    """Train in a child as the product does, and watch it."""
    config = write_config(settings, objective, folder, folder / name)
    ends_s: list[float] = []
    with training(config) as child, Watcher(child.pid) as watcher:
        for _ in events(child):
            ends_s.append(watcher.cpu_s())
    step_s = (ends_s[-1] - ends_s[0]) / (len(ends_s) - 1)
    return Taken(watcher.rss / 2**30, watcher.pss / 2**30, step_s)


class Watcher:
    """A context in which a process's memory is looked at again and again; keeps the peaks."""

    def __init__(self, pid: int) -> None:
        self.rss = self.pss = 0
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def cpu_s(self) -> float:
        """Return the processor's seconds so far, which other work on the machine doesn't change."""
        took = self._process.cpu_times()
        return float(took.user + took.system)

    def _watch(self) -> None:
        with suppress(psutil.Error):  # it has ended
            while not self._done.wait(WATCH_EVERY_S):
                now = self._process.memory_full_info()
                self.rss, self.pss = max(self.rss, now.rss), max(self.pss, now.pss)


def pairs(settings: Settings) -> list[dict[str, Any]]:
    """Return pairs like the demo's: a question, a right and a wrong answer."""
    count = get_tokenizer(settings.model).count_text
    articles = sorted(load_company(settings.company).articles.iterdir())
    passages = {path.name: _passages(path, count) for path in articles}
    every = [passage for those in passages.values() for passage in those]
    found = []
    questions, _ = read_golden(settings.company / "customer_questions.jsonl")
    for number, entry in enumerate(questions):
        right = [p for p in passages[entry.article] if holds_facts(p.body, entry.facts)]
        start = number * 7 % (len(every) - MOST_PASSAGES)
        shown = [*right[:1], *every[start : start + number % MOST_PASSAGES]]
        if right and (pair := _pair(settings, entry, shown, count)):
            found.append(pair)
    return found[:N_PAIRS]


def _passages(path: Path, count: Callable[[str], int]) -> list[Passage]:
    document = parse_bytes(read_bytes(path), uri=str(path), name=path.name)
    return [
        Passage(
            rank=1,
            chunk_id=None,
            document_id=None,
            uri=document.uri,
            title=document.title,
            heading=" > ".join(chunk.heading_path),
            body=chunk.body,
            score=0.0,
            similarity=0.0,
            dense_rank=None,
            text_rank=None,
        )
        for chunk in split(document, count, CHUNK_TOKENS)
    ]


def _pair(
    settings: Settings,
    entry: GoldenQuestion,
    passages: Sequence[Passage],
    count: Callable[[str], int],
) -> dict[str, Any] | None:
    prompt = build_messages(
        load_company(settings.company).guidelines,
        passages,
        [],
        entry.question,
        budget_tokens=settings.max_model_len - settings.max_answer_tokens,
        count_tokens=count,
    )
    texts = {passage.rank: passage.body for passage in prompt.passages}
    chosen = corrected(Preference.WARM_OPENING, "", entry.facts, texts, is_right=False)
    if chosen is None:
        return None
    wrong = f"{passages[-1].body[:120]} [1]"
    return {"prompt": prompt.messages, **DPO.columns_of(wrong, chosen)}
