"""Ask candidate and live the same questions through the running vLLM, and score the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from answering.plan import Planner
from answering.scoring import cites_right, holds_facts
from core.company import GOLDEN, load_company
from core.db import Database
from core.errors import InvalidInput
from core.leases import Check, map_in_threads
from core.settings import NOTHING_FOUND, Settings
from core.types import Message
from core.vllm import BASE, VllmClient
from training.dataset import read_heldout
from training.gate.rules import Answered, Evidence, HeldoutScore
from training.objectives import Objective
from training.objectives.objective import Row

N_STREAMS = 8
MAX_GOLDEN = 100
MAX_HELDOUT = 200  # enough for a Wilson interval of ±0.07
MIN_ANSWERS = 20  # with fewer golden questions, held-out prompts are asked as well
LOOP_WORDS, LOOP_TIMES = 4, 3  # the same four words three times over

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
    score_row = partial(heldout_score, vllm, objective, baseline=baseline, candidate=candidate)
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


def heldout_score(
    vllm: VllmClient, objective: Objective, row: Row, baseline: str, candidate: str
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
    company = load_company(settings.company)
    problems = list(company.golden_problems)
    planner = Planner.of(settings, db)
    asked = []
    for golden in company.golden[:MAX_GOLDEN]:
        check()
        try:
            plan = planner.plan(golden.question)
        except InvalidInput as exc:  # longer than the model takes
            problems.append(f"{GOLDEN} line {golden.line}: {exc}")
            continue
        messages = plan.messages if plan.asks_model else None
        asked.append(Asked(messages, golden.facts, golden.article, plan.articles))
    return asked, problems


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
    return Answered(
        n_words=len(words),
        is_empty=not words,
        loops=hit_limit or max(grams.values(), default=0) >= LOOP_TIMES,
        has_facts=bool(asked.facts) and holds_facts(answer, asked.facts),
        cites_right=cites_right(answer, asked.article, asked.articles_shown),
    )
