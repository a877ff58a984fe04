"""Whether preference training steers the model: pairs of one hidden taste, wins before, after."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from answering.scoring import holds_facts
from bench.model_answers import N_STREAMS, Asker, Reply, share
from bench.report import Row, at_least
from core.company import GoldenQuestion, load_company, read_golden
from core.db import Database
from core.settings import Settings
from core.vllm import BASE, VllmClient
from examples.customers import Preference, judge, wins
from training.child import events, training, write_config
from training.objectives import DPO

N_PAIRS = 200
DRAWS = 4  # answers sampled to each customer question, to find pairs among
SAMPLED = 0.7  # temperature of those
MOST_LOST = -0.02  # of facts and citations

Asked = tuple[GoldenQuestion, Reply]


def taste_rows(settings: Settings, database: Database, vllm: VllmClient) -> list[Row]:
    """Train on up to 200 pairs of each taste and measure on the golden questions."""
    asker = Asker(settings, database, vllm)
    golden = load_company(settings.company).golden
    before = _answers(asker, golden, BASE, temperature=0.0)
    drawn: list[Asked] = []
    customers, _ = read_golden(settings.company / "customer_questions.jsonl")
    for _ in range(DRAWS):
        drawn += zip(customers, _answers(asker, customers, BASE, SAMPLED), strict=True)
    rows: list[Row] = []
    for taste in set(Preference) - {Preference.ANY_FORM}:
        pairs = preference_pairs(taste, drawn)[:N_PAIRS]
        with tempfile.TemporaryDirectory() as folder:
            after = _steered(asker, golden, pairs, Path(folder))
        rows += _rows(taste, golden, before, after, len(pairs))
    return rows


def preference_pairs(taste: Preference, drawn: Sequence[Asked]) -> list[str]:
    """Return JSON lines: a customer's correction, over the sampled answer it corrects."""
    lines: dict[str, str] = {}
    for entry, reply in drawn:
        texts = {passage.rank: passage.body for passage in reply.plan.passages}
        verdict = judge(taste, reply.text, entry.facts, texts)
        if verdict.correction is None or not texts:
            continue
        row = {
            "prompt": reply.plan.messages,
            **DPO.columns_of(reply.text, verdict.correction),
        }
        lines.setdefault(f"{reply.plan.question} {reply.text}", json.dumps(row) + "\n")
    return list(lines.values())


def _answers(
    asker: Asker, entries: Sequence[GoldenQuestion], model: str, temperature: float
) -> list[Reply]:
    """Ask each question in a conversation of its own, as this model."""
    with ThreadPoolExecutor(N_STREAMS) as pool:
        return list(
            pool.map(lambda entry: asker.ask(entry.question, (), model, temperature), entries)
        )


def _steered(
    asker: Asker, golden: Sequence[GoldenQuestion], pairs: Sequence[str], folder: Path
) -> list[Reply]:
    """Train an adapter on the pairs in a child process and ask the golden questions through it."""
    (folder / "train.jsonl").write_text("".join(pairs), encoding="utf-8")
    config = write_config(asker.settings, DPO, folder, folder / "fit")
    with training(config) as child:
        for _ in events(child):
            pass
    name = f"bench-{uuid4().hex[:8]}"
    asker.vllm.load_adapter(name, str(folder / "fit" / "adapter"))
    try:
        return _answers(asker, golden, name, temperature=0.0)
    finally:
        asker.vllm.unload_adapter(name)


def _rows(
    taste: Preference,
    golden: Sequence[GoldenQuestion],
    before: Sequence[Reply],
    after: Sequence[Reply],
    n_pairs: int,
) -> list[Row]:
    won = [share([wins(taste, reply.text) for reply in replies]) for replies in (before, after)]
    facts, cited = (
        [
            share([check(g, r) for g, r in zip(golden, side, strict=True)])
            for side in (before, after)
        ]
        for check in (_has_facts, _cites_right)
    )
    name, peer = f"taste {taste.value}, {n_pairs} pairs", f"before: {won[0]:.2f}"
    return [
        at_least(f"{name}: wins after", won[1], 0.80, "share", peer=peer, n=len(golden)),
        at_least(f"{name}: facts gained", facts[1] - facts[0], MOST_LOST, "share"),
        at_least(f"{name}: citations gained", cited[1] - cited[0], MOST_LOST, "share"),
    ]


def _has_facts(entry: GoldenQuestion, reply: Reply) -> bool:
    return holds_facts(reply.text, entry.facts)


def _cites_right(entry: GoldenQuestion, reply: Reply) -> bool:
    return reply.cites(entry.article)
