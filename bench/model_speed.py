"""How fast the demo model is served, what an adapter costs, and how much memory it takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psutil

from answering.plan import Planner
from bench.report import Row, at_least, at_most
from core.company import load_company
from core.db import Database
from core.settings import Settings
from core.types import Message
from core.vllm import BASE, VllmClient, open_http, split_url
from stack.programs import stack_environment
from training.fit import lora_config
from training.objectives import DPO

N_TOKENS = 100  # of each answer, whatever the model would say
TIMEOUT_S = 120.0
GIB = 2**30


def speed_rows(settings: Settings, database: Database, vllm: VllmClient) -> list[Row]:
    """Return tokens/s at 1 and 32 streams, an adapter's share of it, and resident memory."""
    planner = Planner.of(settings, database)
    golden = load_company(settings.company).golden
    prompts = [planner.plan(each.question).messages for each in golden]
    base = {n: tokens_per_s(settings, BASE, prompts, n) for n in (1, 32)}
    rows = [
        at_least("base, one stream", base[1], 80, "tokens/s"),
        at_least("base, 32 streams", base[32], 600, "tokens/s", n=32),
    ]
    with blank_adapters(settings, vllm, 3) as names:
        for n_streams in (1, 32):
            ratio = tokens_per_s(settings, names[0], prompts, n_streams) / base[n_streams]
            peer = f"base, rank {DPO.recipe.rank}"
            name = f"through an adapter, {n_streams} streams"
            rows.append(at_least(name, ratio, 0.7, "x", peer=peer, n=n_streams))
        rows.append(at_most("vLLM with 3 adapters, resident", resident_gib(settings), 3.5, "GiB"))
    return [*rows, at_most("vLLM ready, a second one beside", ready_s(settings), 45, "s")]


def tokens_per_s(
    settings: Settings, model: str, prompts: Sequence[list[Message]], n_streams: int
) -> float:
    """Return generated tokens per second over all streams, prompts already in the cache."""
    with (
        open_http(settings.vllm_base_url, settings.vllm_key, timeout_s=TIMEOUT_S) as client,
        ThreadPoolExecutor(n_streams) as pool,
    ):

        def answer(messages: list[Message]) -> None:
            body = {"model": model, "messages": messages, "max_tokens": N_TOKENS}
            client.post(
                "/v1/chat/completions", json={**body, "ignore_eos": True, "temperature": 0}
            ).raise_for_status()

        used = [prompts[i % len(prompts)] for i in range(n_streams)]
        list(pool.map(answer, used))  # warms the prefix cache
        start_s = time.perf_counter()
        list(pool.map(answer, used))
        return N_TOKENS * n_streams / (time.perf_counter() - start_s)


@contextmanager
def blank_adapters(settings: Settings, vllm: VllmClient, n_adapters: int) -> Iterator[list[str]]:
    """Yield names of loaded adapters of the trained shape that change nothing."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    names = [f"bench-{uuid4().hex[:8]}" for _ in range(n_adapters)]
    with tempfile.TemporaryDirectory() as folder:
        model = AutoModelForCausalLM.from_pretrained(settings.model)
        lora = lora_config(DPO.recipe, model.config.num_hidden_layers)
        adapted = get_peft_model(model, lora)
        for name in names:
            path = Path(folder) / name
            adapted.save_pretrained(str(path))
            vllm.load_adapter(name, str(path))
        try:
            yield names
        finally:
            for name in names:
                vllm.unload_adapter(name)


def ready_s(settings: Settings) -> float:
    """Start one more vLLM as the product does, and return the seconds until it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    env = stack_environment(settings.model_copy(update={"vllm_port": port}))
    command = [sys.executable, "-m", "stack.serve_model", "127.0.0.1"]
    start_s = time.perf_counter()
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        try:
            while not _is_healthy(port):
                if server.poll() is not None or time.perf_counter() - start_s > TIMEOUT_S:
                    return float("inf")
                time.sleep(0.2)
            return time.perf_counter() - start_s
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def resident_gib(settings: Settings) -> float:
    """Return the proportional memory of the process on vLLM's socket and its children."""
    _, socket_path = split_url(settings.vllm_base_url)
    listening = [(str(c.laddr), c.pid) for c in psutil.net_connections("unix")]
    owners = {pid for path, pid in listening if path == socket_path and pid}
    family = {
        each
        for pid in owners
        for each in (psutil.Process(pid), *psutil.Process(pid).children(True))
    }
    return sum(float(each.memory_full_info().pss) for each in family) / GIB
