"""`ratchet demo`: simulated customers rate, the product learns, a picture shows the difference."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from answering.plan import Planner
from bot.chat.feedback import correct, rate
from bot.chat.service import ChatService, Finished
from core import learning
from core.base_model import read_base_model
from core.company import GoldenQuestion, load_company, read_golden
from core.db import Database
from core.errors import ModelUnavailable, TrainingError
from core.settings import Settings
from core.types import Rating, TrainingRun
from examples.admin import Rated, review
from examples.customers import Customer, Preference, Thumb, judge, population
from examples.demo_picture import draw

N_CUSTOMERS = 30
N_STREAMS = 8
PREFERENCE = Preference.WARM_OPENING
RUN_TIMEOUT_S = 1800.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured; rates are shares in [0, 1] of the held-out questions."""

    n_ratings: int
    n_liked: int
    n_corrections: int
    n_approved: int
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
    chat = ChatService(await asyncio.to_thread(Planner.of, settings, database))
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
    start_s, base = time.monotonic(), read_base_model(settings.model)
    heldout = load_company(settings.company).golden
    asked, _ = read_golden(settings.company / "customer_questions.jsonl")
    with database.connect() as conn:
        adapter_before = learning.serving(conn, base).adapter
    before = await win_rate(chat, heldout, "before", on_progress)
    rated = await rate_answers(database, chat, asked, n_ratings, on_progress)
    n_approved, run = await asyncio.to_thread(learn, database, rated, on_progress)
    after = await win_rate(chat, heldout, "after", on_progress)
    picture = draw(settings.home / "demo.png", before, after, len(heldout))
    with database.connect() as conn:
        adapter_after = learning.serving(conn, base).adapter
    return DemoResult(
        n_ratings=n_ratings,
        n_liked=sum(each.liked for each in rated),
        n_corrections=sum(each.correction is not None for each in rated),
        n_approved=n_approved,
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


async def rate_answers(
    database: Database,
    chat: ChatService,
    questions: Sequence[GoldenQuestion],
    n_ratings: int,
    on_progress: Progress,
) -> list[Rated]:
    """Ask, judge and rate `n_ratings` times."""
    people = population(PREFERENCE, N_CUSTOMERS, seed=0)
    gate = asyncio.Semaphore(N_STREAMS)
    done = 0

    async def one(number: int) -> Rated:
        nonlocal done
        # In each round of the questions the next person asks.
        person = people[(number + number // len(questions)) % len(people)]
        question = questions[number % len(questions)]
        async with gate:
            answer = await ask(chat, customer_id(person), question.question)
            rated = await asyncio.to_thread(give_thumb, database, person, answer, question)
        done += 1
        on_progress("ratings", done, n_ratings)
        return rated

    return await asyncio.gather(*(one(number) for number in range(n_ratings)))


async def win_rate(
    chat: ChatService, questions: Sequence[GoldenQuestion], when: str, on_progress: Progress
) -> float:
    """Return the share of questions whose answer a customer would like; nothing is rated."""
    gate = asyncio.Semaphore(N_STREAMS)
    asker_id = uuid4()
    done = 0

    async def one(question: GoldenQuestion) -> bool:
        nonlocal done
        async with gate:
            answer = await ask(chat, asker_id, question.question)
        done += 1
        on_progress(f"wins {when}", done, len(questions))
        return thumb_on(answer, PREFERENCE, question).liked

    wins = await asyncio.gather(*(one(question) for question in questions))
    return sum(wins) / len(wins)


async def ask(chat: ChatService, owner_id: UUID, question: str) -> Finished:
    """Ask in a conversation of its own, to the end."""
    async for event in chat.answer(owner_id, None, question):
        if isinstance(event, Finished):
            return event
    raise ModelUnavailable("the answer broke off; see `ratchet status`")


def thumb_on(answer: Finished, preference: Preference, question: GoldenQuestion) -> Thumb:
    """Return what a customer with this preference thinks of an answer."""
    texts = {passage.rank: passage.body for passage in answer.passages}
    return judge(preference, answer.turn.answer, question.facts, texts)


def give_thumb(
    database: Database, person: Customer, answer: Finished, question: GoldenQuestion
) -> Rated:
    """Rate one answer through the same rules as the page's buttons."""
    thumb, turn_id = thumb_on(answer, person.preference, question), answer.turn.id
    rating = Rating.UP if thumb.liked else Rating.DOWN
    rate(database, customer_id(person), turn_id, rating, thumb.reasons, "")
    correction = None
    if thumb.correction:
        correction = correct(database, customer_id(person), turn_id, thumb.correction)
    return Rated(question, thumb.liked, correction)


def customer_id(person: Customer) -> UUID:
    """Return the visitor id of a simulated person, the same in every run."""
    return uuid5(NAMESPACE_URL, f"ratchet:customer:{person.name}")


def learn(
    database: Database, rated: Sequence[Rated], on_progress: Progress
) -> tuple[int, TrainingRun]:
    """
    Approve what the articles bear out, train on it; returns how many, and the finished run.

    Both in one transaction: else the workers, which train by themselves when enough was
    approved, would begin with half of it. A run of theirs is followed to its end first.

    Raises:
        TrainingError: A run did not end within half an hour.
    """
    while True:
        with database.connect() as conn:
            run = learning.request_run(conn, "command")
            n_approved = review(conn, rated) if run else 0
            active = run or learning.list_runs(conn, limit=1)[0]
        finished = follow(database, active, on_progress)
        if run is not None:
            return n_approved, finished


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
