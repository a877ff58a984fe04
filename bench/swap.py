"""Twenty swaps under sixteen streams: what fails, what stalls, how soon the new one answers."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save_file

from answering.plan import Planner
from bench.corpus import scratch_database
from bench.report import Row, at_most
from core import learning
from core.base_model import read_base_model
from core.company import load_company
from core.db import Database
from core.settings import Settings
from core.types import Message
from core.vllm import ADAPTED_MODULES, BASE, open_http
from training import deploy, promotion, registry
from training.adapter_config import CONFIG_FILE
from training.adapter_weights import WEIGHTS_FILE

N_SWAPS = 20
N_STREAMS = 16
STALL_S = 2.0  # between two tokens, or before the first
ANSWER_TOKENS = (32, 44, 56, 68, 80, 92)  # of different lengths, or all would prefill at once
QUIET_S = 15.0  # of the same load without swaps, beside which the gaps stand
RANK = 8
FIRST_VERSION = 900_000  # names that no adapter of the running stack has


@dataclass
class Load:
    """What the streams saw; appended to by all of them."""

    failures: list[str] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    n_answers: int = 0


def run(settings: Settings) -> list[Row]:
    """Measure on the running vLLM; the swaps' rows go to a scratch database, then all is undone."""
    with closing(Database(settings.dsn).open()) as articles:
        prompts = _prompts(articles, settings)
    with scratch_database(settings.dsn) as db, tempfile.TemporaryDirectory() as folder:
        own = {"home": Path(folder), "adapters_dir": None}
        same_vllm = {"vllm_url": settings.vllm_base_url, "vllm_api_key": settings.vllm_key}
        scratch = settings.model_copy(update=own | same_vllm)
        with db.connect() as conn:
            conn.execute("SELECT setval('adapter_version', %s)", [_free_version()])
        try:
            with _streams(db, scratch, prompts) as quiet:
                time.sleep(QUIET_S)
            with _streams(db, scratch, prompts) as swapping:
                swaps = [_swap(db, scratch, prompts[0], number) for number in range(N_SWAPS)]
            idle = [_swap(db, scratch, prompts[0], N_SWAPS + number) for number in range(5)]
        finally:
            _unload_all(db, scratch)
    return _rows(quiet, swapping, swaps, idle)


def _prompts(db: Database, settings: Settings) -> list[list[Message]]:
    """Return the prompts the chat would send for the golden questions."""
    planner = Planner.of(settings, db)
    plans = [planner.plan(each.question) for each in load_company(settings.company).golden]
    found = [plan.messages for plan in plans if plan.asks_model]
    return found or [[{"role": "user", "content": "How long may I return things?"}]]


def _free_version() -> int:
    """Return a version above those of earlier benches on this vLLM, whose names are used up."""
    return FIRST_VERSION + int(time.time()) % 90_000


@contextmanager
def _streams(db: Database, settings: Settings, prompts: list[list[Message]]) -> Iterator[Load]:
    """Keep sixteen answers streaming, each from what is live when it starts."""
    load, stop = Load(), threading.Event()
    turn = itertools.count()

    def keep_asking() -> None:
        with open_http(settings.vllm_base_url, settings.vllm_key, timeout_s=60) as http:
            while not stop.is_set():
                with db.connect() as conn:
                    model = learning.serving(conn, read_base_model(settings.model)).adapter or BASE
                number = next(turn)
                prompt = prompts[number % len(prompts)]
                n_tokens = ANSWER_TOKENS[number % len(ANSWER_TOKENS)]
                try:
                    load.gaps_s += _stream(http, model, prompt, n_tokens)
                    load.n_answers += 1
                except (httpx.HTTPError, ValueError) as exc:
                    load.failures.append(f"{model}: {exc}")

    threads = [threading.Thread(target=keep_asking) for _ in range(N_STREAMS)]
    for thread in threads:
        thread.start()
    try:
        while load.n_answers + len(load.failures) < N_STREAMS:
            time.sleep(0.05)  # sixteen prompts that arrive at once are a load of their own
        load.gaps_s.clear()
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _stream(http: httpx.Client, model: str, messages: list[Message], n_tokens: int) -> list[float]:
    """Return the seconds before each token; raises when the answer does not end as it should."""
    gaps_s, last_s, finish = [], time.perf_counter(), None
    with http.stream(
        "POST",
        "/v1/chat/completions",
        json={
            "model": model,
            "messages": messages,
            "max_tokens": n_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        },
    ) as response:
        if response.is_error:
            raise ValueError(f"{response.status_code} {response.read().decode()[:200]}")
        for line in response.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                now_s = time.perf_counter()
                gaps_s.append(now_s - last_s)
                last_s = now_s
                finish = event["choices"][0]["finish_reason"] if event.get("choices") else finish
    if finish != "length":
        raise ValueError(f"the answer broke off: {finish}")
    return gaps_s


def _swap(db: Database, settings: Settings, prompt: list[Message], seed: int) -> float:
    """Promote a new adapter; return the seconds from its being saved to its first token."""
    saved = _random_adapter(Path(settings.model), settings.home / f"draft-{seed}", seed)
    start_s = time.perf_counter()
    with db.connect() as conn:
        adapter = registry.register(conn, settings, saved, None)
        promotion.request_promotion(conn, settings, adapter.name, actor="bench", overrule=True)
    deploy.bring(db, settings)
    with open_http(settings.vllm_base_url, settings.vllm_key, timeout_s=60) as http:
        promoted_s = time.perf_counter() - start_s
        return promoted_s + _stream(http, adapter.name, prompt, ANSWER_TOKENS[0])[0]


def _random_adapter(base: Path, folder: Path, seed: int) -> Path:
    """Write an adapter with every module that is served, as large as a trained one."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    widths = {"o_proj": config["hidden_size"], "down_proj": config["intermediate_size"]}
    parents = {"o_proj": "self_attn", "down_proj": "mlp"}
    draw = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for layer, module in itertools.product(range(config["num_hidden_layers"]), ADAPTED_MODULES):
        name = f"base_model.model.model.layers.{layer}.{parents[module]}.{module}"
        a = draw.normal(size=(RANK, widths[module])) / widths[module] ** 0.5
        b = draw.normal(size=(config["hidden_size"], RANK)) * 0.01
        tensors[f"{name}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = b.astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    lora = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": list(ADAPTED_MODULES),
        "base_model_name_or_path": str(base),
        "bias": "none",
    }
    (folder / CONFIG_FILE).write_text(json.dumps(lora), encoding="utf-8")
    return folder


def _unload_all(db: Database, settings: Settings) -> None:
    with closing(deploy.client(settings)) as vllm, db.connect() as conn:
        for name in sorted(vllm.adapters() & learning.adapter_names(conn)):
            vllm.unload_adapter(name)


def _rows(quiet: Load, swapping: Load, swaps: list[float], idle: list[float]) -> list[Row]:
    n = swapping.n_answers
    stalls = sum(gap > STALL_S for gap in swapping.gaps_s)
    worst, usual = max(swapping.gaps_s), max(quiet.gaps_s)
    under_load = f"{N_STREAMS} streams"
    return [
        at_most("failed requests", len(swapping.failures), 0, "requests", peer=under_load, n=n),
        at_most(f"gaps over {STALL_S:g} s", stalls, 0, "gaps", peer=under_load, n=n),
        Row("longest gap while swapping", worst, "s", peer=f"{usual:.2f} s without swaps", n=n),
        at_most(
            "saved adapter to first token, median",
            statistics.median(swaps),
            2,
            "s",
            peer=under_load,
            n=len(swaps),
        ),
        at_most(
            "saved adapter to first token, slowest",
            max(swaps),
            2,
            "s",
            peer=under_load,
            n=len(swaps),
        ),
        Row("saved adapter to first token, idle", statistics.median(idle), "s", n=len(idle)),
    ]
