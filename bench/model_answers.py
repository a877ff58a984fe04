"""The model on the sample company: golden questions, refusals, follow-ups, clean sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from answering.plan import Plan, Planner
from answering.scoring import cites_right, holds_facts
from bench.report import Row, at_least, at_most
from core.company import GoldenQuestion, load_company, read_golden
from core.db import Database
from core.settings import NOTHING_FOUND, Settings
from core.types import HELP, Message
from core.vllm import BASE, VllmClient
from examples.customers import says_not_found
from examples.recipe.prompts import SORRY
from examples.recipe.smalltalk import REPLIES
from examples.recipe.styles import CLOSINGS, FORMAL_OPENINGS, WARM_OPENINGS
from retrieval.options import Scope

N_STREAMS = 8
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
LOOP_WORDS, LOOP_TIMES = 4, 3
# What a clean answer may say besides the words of its prompt.
SET_PHRASES = (*WARM_OPENINGS, *FORMAL_OPENINGS, *CLOSINGS, SORRY, *chain(*REPLIES.values()))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said to a prompt, and what it was shown."""

    text: str
    plan: Plan
    hit_limit: bool = False

    def cites(self, article: str) -> bool:
        """Return whether this article is cited, and no other."""
        return cites_right(self.text, article, self.plan.articles)


class Asker:
    """Asks as the chat does, but greedily and without storing anything."""

    def __init__(self, settings: Settings, database: Database, vllm: VllmClient) -> None:
        self.settings, self.vllm = settings, vllm
        self.planner = Planner.of(settings, database)

    def ask(
        self,
        question: str,
        history: Sequence[Message] = (),
        model: str = BASE,
        temperature: float = 0.0,
        collection: str = HELP,
    ) -> Reply:
        """Make the prompt and let the model answer; the base model if none is named."""
        scope = replace(Scope.of(self.settings), collections=(collection,))
        plan = self.planner.plan(question, history, scope)
        if not plan.asks_model:
            return Reply(NOTHING_FOUND, plan)
        limit = self.settings.max_answer_tokens
        done = self.vllm.generate(model, plan.messages, max_tokens=limit, temperature=temperature)
        return Reply(done.text, plan, hit_limit=done.completion_tokens >= limit)

    def ask_all(
        self, questions: Sequence[str], collections: Sequence[str] | None = None
    ) -> list[Reply]:
        """Ask several at a time, each in a conversation of its own."""

        def ask(question: str, collection: str) -> Reply:
            return self.ask(question, collection=collection)

        with ThreadPoolExecutor(N_STREAMS) as pool:
            return list(pool.map(ask, questions, collections or [HELP] * len(questions)))


def company_answer_rows(settings: Settings, database: Database, vllm: VllmClient) -> list[Row]:
    """Return the rows on the sample company."""
    asker = Asker(settings, database, vllm)
    company = load_company(settings.company)
    golden = company.golden
    replies = asker.ask_all([each.question for each in golden])
    refused = asker.ask_all(company.unanswerable)
    return [
        golden_facts(golden, replies),
        golden_citations(golden, replies),
        golden_found(golden, replies),
        says_so(refused),
        says_so_wrongly(replies),
        follow_ups(asker, settings.company / "followups.jsonl"),
        clean_sentences([*replies, *refused]),
    ]


def golden_facts(golden: Sequence[GoldenQuestion], replies: Sequence[Reply]) -> Row:
    """Return the share of golden questions whose facts stand in the answer."""
    hits = [holds_facts(r.text, g.facts) for g, r in zip(golden, replies, strict=True)]
    return at_least("golden: facts in the answer", share(hits), 0.80, "share", n=len(hits))


def golden_citations(golden: Sequence[GoldenQuestion], replies: Sequence[Reply]) -> Row:
    """Return the share of golden questions whose answer cites the right article."""
    hits = [r.cites(g.article) for g, r in zip(golden, replies, strict=True)]
    return at_least("golden: right article cited", share(hits), 0.85, "share", n=len(hits))


def golden_found(golden: Sequence[GoldenQuestion], replies: Sequence[Reply]) -> Row:
    """Return how often retrieval showed the model what it needed: the most it could get right."""
    hits = [
        any(holds_facts(p.body, g.facts) for p in r.plan.passages)
        for g, r in zip(golden, replies, strict=True)
    ]
    return Row("golden: facts in a passage shown", share(hits), "share", n=len(hits))


def says_so(replies: Sequence[Reply]) -> Row:
    """Return the share of unanswerable questions on which it says that nothing is found."""
    hits = [says_not_found(reply.text) for reply in replies]
    return at_least("unanswerable: says so", share(hits), 0.75, "share", n=len(hits))


def says_so_wrongly(replies: Sequence[Reply]) -> Row:
    """Return the share of golden questions on which it says that nothing is found."""
    hits = [says_not_found(reply.text) for reply in replies]
    return at_most("golden: wrongly says nothing found", share(hits), 0.10, "share", n=len(hits))


def follow_ups(asker: Asker, path: Path) -> Row:
    """Return the share of second questions answered that need the turn before."""
    hits = []
    for entry in read_golden(path)[0]:
        first = asker.ask(entry.first)
        history: list[Message] = [
            {"role": "user", "content": entry.first},
            {"role": "assistant", "content": first.text},
        ]
        hits.append(holds_facts(asker.ask(entry.question, history).text, entry.facts))
    return at_least("follow-ups: facts in the answer", share(hits), 0.60, "share", n=len(hits))


def clean_sentences(replies: Sequence[Reply]) -> Row:
    """Return the share of answers without broken words, loops or loose ends."""
    hits = [is_clean(reply) for reply in replies]
    return at_least("answers that read cleanly", share(hits), 0.95, "share", n=len(hits))


def is_clean(reply: Reply) -> bool:
    """Tell whether an answer ends properly, repeats nothing and has only whole words."""
    shown = " ".join(f"{p.title} {p.heading} {p.body}" for p in reply.plan.passages)
    known = set(words(" ".join((shown, reply.plan.question, *SET_PHRASES))))
    said = words(reply.text)
    grams = Counter(zip(*(said[start:] for start in range(LOOP_WORDS)), strict=False))
    ends = re.search(r"[.!?:\]]$", reply.text.strip()) is not None
    loops = reply.hit_limit or max(grams.values(), default=0) >= LOOP_TIMES
    return ends and not loops and all(word in known for word in said)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return [word.replace("’", "'") for word in WORD.findall(text.replace("’", "'").casefold())]


def share(hits: Sequence[bool]) -> float:
    """Return the share of hits, 0 of none."""
    return sum(hits) / len(hits) if hits else 0.0
