"""Runs `training.fit` as a child process and yields what it reports of each step."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import TrainingError
from core.settings import ROOT, Settings
from core.types import TrainingStep
from training.objectives import Objective

SMALL_MACHINE_CORES = 4
# What glibc keeps for the next step: freed blocks up to the first size, in all up to the second;
# docs/sources.md has what that costs and saves.
KEPT_BLOCK_BYTES = 64 * 2**20
KEPT_BYTES = 2**30
LOG_END_CHARS = 20_000
NO_MEMORY = re.compile("allocate memory|bad_alloc|MemoryError")
OUT_OF_MEMORY = (
    "training needs more than {gib:g} GiB of memory; shorten the longest corrections, show the "
    "model fewer passages, or raise RATCHET_TRAIN_MEMORY_GIB"
)


class TrainerKilled(TrainingError):
    """The child ended without a word, for example by kill -9."""

    may_pass = True


class Degenerated(TrainingError):
    """The child stopped because the examples taught nothing worth learning."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the child tells of one optimiser step."""

    step: TrainingStep
    total_steps: int


@dataclass(frozen=True, slots=True)
class FitConfig:
    """All that the child needs to know; travels as a JSON file."""

    base_model: str  # a folder or a hub's name
    objective: str
    recipe: dict[str, Any]  # the fields of the objective's recipe
    train: str  # path of the rows to train on
    output: str  # folder to make, for the adapter
    memory_gib: float

    @classmethod
    def read(cls, path: Path) -> FitConfig:
        """Return what `write_config` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def write_config(settings: Settings, objective: Objective, dataset: Path, folder: Path) -> Path:
    """Write what the child needs to know into `folder`, which also gets its log and adapter."""
    folder.mkdir(mode=0o700, parents=True)
    config = FitConfig(
        base_model=settings.model,
        objective=objective.name,
        recipe=asdict(objective.recipe),
        train=str(dataset / "train.jsonl"),
        output=str(folder / "adapter"),
        memory_gib=settings.train_memory_gib,
    )
    path = folder / "config.json"
    path.write_text(json.dumps(asdict(config), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


@contextmanager
def training(config: Path) -> Iterator[subprocess.Popen[str]]:
    """
    Yield the running child; it is ended with the block, and ends itself when we are killed.

    Its stdin is a pipe that we hold open and never write to: that it closes is how the child
    knows that we are gone.
    """
    command = [sys.executable, "-m", "training.fit", str(config)]
    with (config.parent / "fit.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env=child_environment(os.environ, config.parent),
        )
    try:
        yield child
    finally:
        child.kill()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        child.wait()


def events(child: subprocess.Popen[str]) -> Iterator[StepReport]:
    """
    Yield what the child reports of each step until it has ended well.

    Raises:
        TrainerKilled: It was killed.
        Degenerated: It stopped itself at loss 0.
        TrainingError: It failed; the message is its own.
    """
    error = ""
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if "step" in event:
            total_steps = event.pop("total_steps")
            yield StepReport(TrainingStep(**event), total_steps)
        error = event.get("error", error)
    code = child.wait()
    if code == 0:
        return
    if code == 3:
        raise Degenerated(error)
    if error:
        raise TrainingError(f"training failed: {error}")
    _raise_if_out_of_memory(child)
    raise TrainerKilled(f"the training process ended with {code} and no reason; see its fit.log")


def _raise_if_out_of_memory(child: subprocess.Popen[str]) -> None:
    """Read in the log whether a library aborted the process because an allocation failed."""
    assert isinstance(child.args, list)
    config = Path(child.args[-1])
    log = (config.parent / "fit.log").read_text(encoding="utf-8", errors="replace")
    if NO_MEMORY.search(log[-LOG_END_CHARS:]):
        gib = FitConfig.read(config).memory_gib
        raise TrainingError(f"training failed: {OUT_OF_MEMORY.format(gib=gib)}")


def child_environment(inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
    """
    Return the child's environment.

    On few cores it gets one thread: two threads on cores that others use are many times slower
    than one, as each waits for the other.
    """
    n_cores = os.cpu_count() or 1
    n_threads = 1 if n_cores <= SMALL_MACHINE_CORES else n_cores // 2
    return {
        "OMP_NUM_THREADS": str(n_threads),
        # Else each step asks the kernel for its memory anew: a third of the time on a CPU.
        "MALLOC_MMAP_THRESHOLD_": str(KEPT_BLOCK_BYTES),
        "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
        "MALLOC_ARENA_MAX": "1",  # one heap: what one thread frees another can use
        "TOKENIZERS_PARALLELISM": "false",
        **inherited,
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
