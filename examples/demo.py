"""`ratchet demo`: simulated customers rate, the product learns, a picture shows the difference."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from bot.chat import ChatService, Finished
from bot.feedback import correct, rate
from bot.tokens import ModelTokenizer
from core import conversations, learning
from core.db import Database
from core.errors import ModelUnavailable, TrainingError
from core.settings import Settings
from core.types import Rating, TrainingRun, Turn
from examples.customers import Customer, Preference, judge, population
from retrieval.embed import get_embedder

N_CUSTOMERS = 30
N_STREAMS = 8
PREFERENCE = Preference.WARM_OPENING
RUN_TIMEOUT_S = 1800.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the facts that a right answer holds."""

    question: str
    article: str
    facts: list[str]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured; rates are shares in [0, 1] of the held-out questions."""

    n_ratings: int
    n_liked: int
    n_corrections: int
    n_heldout: int
    win_rate_before: float
    win_rate_after: float
    adapter_before: str | None
    adapter_after: str | None
    promoted: bool
    run_state: str
    reasons: list[str]
    seconds: float
    picture: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that `ratchet demo --json` prints."""
        return asdict(self)


@asynccontextmanager
async def open_chat(settings: Settings, database: Database) -> AsyncIterator[ChatService]:
    """Yield the chat as the web app has it, for a script of its own."""
    embedder = await asyncio.to_thread(get_embedder, settings)
    chat = ChatService(settings, database, embedder, ModelTokenizer(settings.model))
    try:
        yield chat
    finally:
        await chat.close()


def run(settings: Settings, n_ratings: int, on_progress: Progress) -> DemoResult:
    """Play the demo against the running stack."""

    async def play_all() -> DemoResult:
        with closing(Database(settings.dsn, max_size=N_STREAMS).open()) as database:
            async with open_chat(settings, database) as chat:
                return await play(settings, database, chat, n_ratings, on_progress)

    return asyncio.run(play_all())


async def play(
    settings: Settings,
    database: Database,
    chat: ChatService,
    n_ratings: int,
    on_progress: Progress,
) -> DemoResult:
    """
    Rate `n_ratings` answers, retrain, and measure wins on the golden questions before and after.

    A win is an answer to a golden question (never rated, never trained on) that a simulated
    customer would like: the facts, their citation and the hidden preference.

    Raises:
        TrainingError: The training run did not end within half an hour.
    """
    start_s = time.monotonic()
    heldout = load_questions(settings.company / "golden.jsonl")
    asked = load_questions(settings.company / "customer_questions.jsonl")
    with database.connect() as conn:
        adapter_before = learning.live_adapter(conn)
    before = await win_rate(database, chat, heldout, "before", on_progress)
    thumbs = await rate_answers(database, chat, asked, n_ratings, on_progress)
    run = await asyncio.to_thread(retrain, database, on_progress)
    after = await win_rate(database, chat, heldout, "after", on_progress)
    picture = draw(settings.home / "demo.png", before, after, len(heldout))
    with database.connect() as conn:
        adapter_after = learning.live_adapter(conn)
    return DemoResult(
        n_ratings=n_ratings,
        n_liked=sum(liked for liked, _ in thumbs),
        n_corrections=sum(corrected for _, corrected in thumbs),
        n_heldout=len(heldout),
        win_rate_before=before,
        win_rate_after=after,
        adapter_before=adapter_before,
        adapter_after=adapter_after,
        promoted=adapter_after not in (None, adapter_before),
        run_state=run.state.value,
        reasons=run.reasons or ([run.error] if run.error else []),
        seconds=round(time.monotonic() - start_s, 1),
        picture=str(picture),
    )


def load_questions(path: Path) -> list[Question]:
    """Read one JSON object per line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Question(**json.loads(line)) for line in lines if line.strip()]


async def rate_answers(
    database: Database,
    chat: ChatService,
    questions: Sequence[Question],
    n_ratings: int,
    on_progress: Progress,
) -> list[tuple[bool, bool]]:
    """Ask, judge and rate `n_ratings` times; returns (liked, corrected) of each."""
    people = population(PREFERENCE, N_CUSTOMERS, seed=0)
    gate = asyncio.Semaphore(N_STREAMS)
    done = 0

    async def one(number: int) -> tuple[bool, bool]:
        nonlocal done
        person = people[number % len(people)]
        question = questions[number % len(questions)]
        async with gate:
            turn = await ask(chat, customer_id(person), question.question)
            thumb = await asyncio.to_thread(give_thumb, database, person, turn, question)
        done += 1
        on_progress("ratings", done, n_ratings)
        return thumb

    return await asyncio.gather(*(one(number) for number in range(n_ratings)))


async def win_rate(
    database: Database,
    chat: ChatService,
    questions: Sequence[Question],
    when: str,
    on_progress: Progress,
) -> float:
    """Return the share of questions whose answer a customer would like; nothing is rated."""
    gate = asyncio.Semaphore(N_STREAMS)
    asker_id = uuid4()
    done = 0

    async def one(question: Question) -> bool:
        nonlocal done
        async with gate:
            turn = await ask(chat, asker_id, question.question)
            texts = await asyncio.to_thread(passage_texts, database, turn.id)
        done += 1
        on_progress(f"wins {when}", done, len(questions))
        return judge(PREFERENCE, turn.answer, question.facts, texts).liked

    wins = await asyncio.gather(*(one(question) for question in questions))
    return sum(wins) / len(wins)


async def ask(chat: ChatService, owner_id: UUID, question: str) -> Turn:
    """Ask in a conversation of its own and return the finished turn."""
    async for event in chat.answer(owner_id, None, question):
        if isinstance(event, Finished):
            return event.turn
    raise ModelUnavailable("the answer broke off; see `ratchet status`")


def give_thumb(
    database: Database, person: Customer, turn: Turn, question: Question
) -> tuple[bool, bool]:
    """Rate one turn through the same rules as the page's buttons."""
    verdict = judge(
        person.preference, turn.answer, question.facts, passage_texts(database, turn.id)
    )
    rating = Rating.UP if verdict.liked else Rating.DOWN
    rate(database, customer_id(person), turn.id, rating, verdict.reasons, "")
    if verdict.correction:
        correct(database, customer_id(person), turn.id, verdict.correction)
    return verdict.liked, bool(verdict.correction)


def passage_texts(database: Database, turn_id: UUID) -> dict[int, str]:
    """Return what the model saw, by citation number."""
    with database.connect() as conn:
        return {p.rank: p.body for p in conversations.turn_passages(conn, turn_id)}


def customer_id(person: Customer) -> UUID:
    """Return the visitor id of a simulated person, the same in every run."""
    return uuid5(NAMESPACE_URL, f"ratchet:customer:{person.name}")


def retrain(database: Database, on_progress: Progress) -> TrainingRun:
    """
    Train on all the ratings and return the finished run.

    The workers may have begun a run of their own meanwhile, as they do when enough new pairs
    have come; it is followed to its end first.

    Raises:
        TrainingError: A run did not end within half an hour.
    """
    while True:
        with database.connect() as conn:
            run = learning.request_run(conn, "command")
            active = run or learning.list_runs(conn, limit=1)[0]
        finished = follow(database, active, on_progress)
        if run is not None:
            return finished


def follow(database: Database, run: TrainingRun, on_progress: Progress) -> TrainingRun:
    """Report a run's progress until it is final."""
    deadline_s = time.monotonic() + RUN_TIMEOUT_S
    while not run.state.is_final:
        if time.monotonic() > deadline_s:
            raise TrainingError(f"run {run.id} did not end in {RUN_TIMEOUT_S:.0f} s; see the logs")
        time.sleep(0.5)
        with database.connect() as conn:
            run = learning.get_run(conn, run.id)
        steps = run.progress.get("step", 0), run.progress.get("total_steps", 0)
        on_progress(f"{run.trigger} run: training", *steps)
    return run


def draw(path: Path, before: float, after: float, n_heldout: int) -> Path:
    """Write the picture of the two win rates with their 95 % Wilson intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    from training.gate import wilson_interval

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for place, (label, value, colour) in enumerate(
        [("before", before, "#9aa5b1"), ("after", after, "#2f7d5b")]
    ):
        low, high = wilson_interval(value * n_heldout, n_heldout)
        axes.bar(place, value, width=0.55, color=colour)
        axes.errorbar(place, value, [[value - low], [high - value]], color="#333", capsize=6)
        axes.text(place + 0.06, value + 0.02, f"{value:.0%}", fontsize=13, fontweight="bold")
        axes.text(place, -0.06, label, ha="center", va="top", fontsize=11)
    axes.set(ylim=(0, 1.08), xlim=(-0.6, 1.6), xticks=[], ylabel="win rate")
    axes.set_title(f"Answers customers would like, {n_heldout} questions never trained on")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
