"""Puts candidate and live to the same questions through the running vLLM, for the gate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from answering.plan import PromptBuilder
from core.db import Database
from core.errors import InvalidInput
from core.jsonl import BadLine, Row, read_jsonl
from core.leases import Check, map_in_threads
from core.settings import NOTHING_FOUND, Settings
from core.types import Message
from core.vllm import BASE, VllmClient
from retrieval.load import storable_text
from training.dataset import read_heldout
from training.gate import Answered, Evidence, HeldoutScore
from training.objectives import Objective
from training.objectives.objective import Row as HeldoutRow

N_STREAMS = 8
MAX_GOLDEN = 100
MAX_HELDOUT = 200  # enough for a Wilson interval of ±0.07
MIN_ANSWERS = 20  # with fewer golden questions, held-out prompts are asked as well
LOOP_WORDS, LOOP_TIMES = 4, 3  # the same four words three times over
CITATION = re.compile(r"\[(\d+)\]")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is sent, and what a right answer holds; no article: any answer will do."""

    messages: list[Message] | None  # None: nothing relevant was found, no model is asked
    facts: Sequence[str] = ()
    article: str = ""
    articles_shown: Sequence[str] = ()  # file name of each passage, in the order of its number


def measure(
    db: Database,
    settings: Settings,
    vllm: VllmClient,
    *,
    candidate: str,
    live: str | None,
    dataset: Path,
    objective: Objective,
    on_progress: Progress,
    check: Check,
) -> Evidence:
    """
    Return what `candidate` and `live` (None: the base model) do on held-out and golden questions.

    `check` is called all the while and may raise.

    Raises:
        ModelUnavailable: vLLM went away.
        DatabaseUnavailable: Postgres went away.
    """
    rows = read_heldout(dataset)[:MAX_HELDOUT]
    baseline = live or BASE
    on_progress(f"scoring {len(rows)} held-out examples")
    score_row = partial(_score, vllm, objective, baseline=baseline, candidate=candidate)
    scored = map_in_threads(score_row, rows, N_STREAMS, check)
    heldout = [score for score in scored if score is not None]
    golden, problems = golden_questions(db, settings, check)
    extra = [Asked(row["prompt"]) for row in rows[: max(0, MIN_ANSWERS - len(golden))]]
    asked = [*golden, *extra]
    on_progress(f"asking {len(asked)} questions of both")
    answers = {
        model: map_in_threads(partial(_answer, vllm, settings, model), asked, N_STREAMS, check)
        for model in (baseline, candidate)
    }
    wanted = [len(objective.wanted_text(row).split()) for row in rows]
    return Evidence(
        heldout=heldout,
        live_answers=answers[baseline],
        candidate_answers=answers[candidate],
        wanted_words=sum(wanted) / len(wanted) if wanted else 0.0,
        n_golden=len(golden),
        golden_problems=problems,
    )


def _score(
    vllm: VllmClient, objective: Objective, row: HeldoutRow, baseline: str, candidate: str
) -> HeldoutScore | None:
    """Return a row's score under both models; None when it is longer than their context."""
    live, new = (partial(vllm.sequence_logprob, model) for model in (baseline, candidate))
    try:
        return HeldoutScore(live=objective.score(row, live), candidate=objective.score(row, new))
    except InvalidInput:
        return None


def golden_questions(
    db: Database, settings: Settings, check: Check = lambda: None
) -> tuple[list[Asked], list[str]]:
    """
    Return the company's golden questions with the prompts the chat would send now.

    And what is wrong with each line that can't be used: it is left out, the others count.
    """
    path = settings.company / "golden.jsonl"
    if not path.is_file():
        return [], []
    entries, problems = read_golden(path)
    build = PromptBuilder(db, settings)
    asked = []
    for row in entries[:MAX_GOLDEN]:
        check()
        entry = row.fields
        try:
            prompt = build(entry["question"])
        except InvalidInput as exc:  # longer than the model takes
            problems.append(f"line {row.number}: {exc}")
            continue
        shown = [PurePosixPath(passage.uri).name for passage in prompt.passages]
        asked.append(Asked(prompt.messages, entry["facts"], entry["article"], shown))
    return asked, problems


def read_golden(path: Path) -> tuple[list[Row], list[str]]:
    """Return the good lines of a golden file, and what is wrong with each of the others."""
    entries, problems = [], []
    for line in read_jsonl(path):
        if isinstance(line, BadLine):
            problems.append(str(line))
        elif why := _fault(line):
            problems.append(f"line {line.number} {why}")
        else:
            entries.append(line)
    return entries, problems


def _fault(line: Row) -> str:
    """Say what keeps a line from being a golden question; empty when nothing does."""
    for name in ("question", "article"):
        if not _is_text(line.fields.get(name)):
            return f"has no text as `{name}`"
    facts = line.fields.get("facts")
    if not isinstance(facts, list) or not facts or not all(map(_is_text, facts)):
        return "has no list of texts as `facts`"
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value == storable_text(value)


def _answer(vllm: VllmClient, settings: Settings, model: str, asked: Asked) -> Answered:
    if asked.messages is None:
        return score(NOTHING_FOUND, asked, hit_limit=False)
    limit = settings.max_answer_tokens
    completion = vllm.generate(model, asked.messages, max_tokens=limit, temperature=0.0)
    return score(completion.text, asked, hit_limit=completion.completion_tokens >= limit)


def score(answer: str, asked: Asked, *, hit_limit: bool) -> Answered:
    """Tell whether an answer holds the facts, cites the right article, and reads sanely."""
    words = answer.casefold().split()
    grams = Counter(zip(*(words[start:] for start in range(LOOP_WORDS)), strict=False))
    cited = [int(number) for number in CITATION.findall(answer)]
    shown = asked.articles_shown
    return Answered(
        n_words=len(words),
        is_empty=not words,
        loops=hit_limit or max(grams.values(), default=0) >= LOOP_TIMES,
        has_facts=bool(asked.facts) and all(holds_fact(answer, fact) for fact in asked.facts),
        cites_right=any(0 < n <= len(shown) and shown[n - 1] == asked.article for n in cited),
    )


def holds_fact(answer: str, fact: str) -> bool:
    """
    Tell whether a fact stands in an answer as words of its own, in any case.

    >>> holds_fact("It costs $60.", "$6"), holds_fact("Within  45 Days.", "45 days")
    (False, True)
    """
    pattern = rf"(?<![\w$.]){re.escape(' '.join(fact.split()))}(?!\w|[.,]\d)"
    return re.search(pattern, " ".join(answer.split()), re.IGNORECASE) is not None
