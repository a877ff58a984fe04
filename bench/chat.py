"""First token and tokens/s through the app beside vLLM alone with the same final messages."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from openai import AsyncOpenAI

from bench.report import Row, at_least, at_most
from bot.chat.service import ChatService, Finished, Token
from core import learning
from core.base_model import read_base_model
from core.company import load_company
from core.db import Database
from core.settings import Settings
from core.vllm import BASE, split_url
from examples.demo import ask, open_chat

STREAMS = (1, 8, 32)
N_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timed:
    """One streamed answer: when its first token came, how long it took, how much it was."""

    first_token_s: float
    total_s: float
    n_tokens: int


def run(settings: Settings) -> list[Row]:
    """Measure both sides in alternation against the running stack, prefix cache warm for both."""
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> list[Row]:
    rows: list[Row] = []
    with closing(Database(settings.dsn, max_size=max(STREAMS)).open()) as database:
        with database.connect() as conn:
            live = learning.serving(conn, read_base_model(settings.model)).adapter or BASE
        async with open_chat(settings, database) as chat:
            for n_streams in STREAMS:
                rows += await _compare(settings, chat, live, n_streams)
    return rows


async def _compare(settings: Settings, chat: ChatService, live: str, n_streams: int) -> list[Row]:
    golden = load_company(settings.company).golden
    # Warming also tells the final messages, so that both sides send the very same.
    turns = [(await ask(chat, uuid4(), item.question)).turn for item in golden]
    asked = [turn for turn in turns if turn.first_token_ms and turn.prompt_tokens][:n_streams]
    address, socket = split_url(settings.vllm_base_url)
    http = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=socket), timeout=60)
    client = AsyncOpenAI(
        base_url=f"{address}/v1",
        api_key=settings.vllm_key or "-",
        timeout=60,
        http_client=http,  # type: ignore[arg-type]
    )
    ours: list[list[Timed]] = []
    theirs: list[list[Timed]] = []
    for number in range(N_ROUNDS + 1):
        app_jobs = [_through_app(chat, turn.question) for turn in asked]
        raw_jobs = [_straight(client, settings, live, turn.messages) for turn in asked]
        sides = [(ours, app_jobs), (theirs, raw_jobs)]
        for side, jobs in sides if number % 2 else reversed(sides):
            side.append(list(await asyncio.gather(*jobs)))
    await client.close()
    return _rows(n_streams, ours[1:], theirs[1:])  # the first round warms both


async def _through_app(chat: ChatService, question: str) -> Timed:
    start_s, first_s, n_tokens = time.perf_counter(), 0.0, 0
    async for event in chat.answer(uuid4(), None, question):
        if isinstance(event, Token):
            first_s = first_s or time.perf_counter() - start_s
        elif isinstance(event, Finished):
            n_tokens = event.turn.completion_tokens or 0
    return Timed(first_s, time.perf_counter() - start_s, n_tokens)


async def _straight(
    client: AsyncOpenAI, settings: Settings, model: str, messages: list[Any]
) -> Timed:
    start_s, first_s, n_tokens = time.perf_counter(), 0.0, 0
    stream = await client.chat.completions.create(
        model=model,
        messages=messages,
        temperature=settings.temperature,
        max_tokens=settings.max_answer_tokens,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first_s = first_s or time.perf_counter() - start_s
        if chunk.usage:
            n_tokens = chunk.usage.completion_tokens
    return Timed(first_s, time.perf_counter() - start_s, n_tokens)


def _rows(n_streams: int, ours: list[list[Timed]], theirs: list[list[Timed]]) -> list[Row]:
    n = sum(len(batch) for batch in ours)
    first = [_median_first_ms(side) for side in (ours, theirs)]
    rate = [_tokens_per_s(side) for side in (ours, theirs)]
    label = f"{n_streams} stream{'s' if n_streams > 1 else ''}"
    first_ratio, rate_ratio = first[0] / first[1], rate[0] / rate[1]
    held = n_streams == 1  # the aims are set for one stream; the others are for the reader
    return [
        Row(f"{label}: first token, app", first[0], "ms", n=n),
        Row(f"{label}: first token, vLLM alone", first[1], "ms", n=n),
        at_most(f"{label}: first-token ratio", first_ratio, 1.10, "x", peer="vLLM", n=n)
        if held
        else Row(f"{label}: first-token ratio", first_ratio, "x", peer="vLLM", n=n),
        Row(f"{label}: tokens/s, app", rate[0], "1/s", n=n),
        Row(f"{label}: tokens/s, vLLM alone", rate[1], "1/s", n=n),
        at_least(f"{label}: tokens/s ratio", rate_ratio, 0.98, "x", peer="vLLM", n=n)
        if held
        else Row(f"{label}: tokens/s ratio", rate_ratio, "x", peer="vLLM", n=n),
    ]


def _median_first_ms(batches: list[list[Timed]]) -> float:
    return 1000 * statistics.median(t.first_token_s for batch in batches for t in batch)


def _tokens_per_s(batches: list[list[Timed]]) -> float:
    """Return the median over rounds of all tokens over the time of the slowest stream."""
    return statistics.median(
        sum(t.n_tokens for t in batch) / max(t.total_s for t in batch) for batch in batches
    )
