"""Runs `training.fit` as a child process and hands on what it reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import TrainingError
from core.settings import ROOT, Settings
from training.recipe import Recipe

SMALL_MACHINE_CORES = 4
BIG_BLOCK_BYTES = str(2**32)  # below this, glibc keeps freed memory instead of giving it back


class TrainerKilled(TrainingError):
    """The child ended without a word, for example by kill -9; trying again makes sense."""


class Degenerated(TrainingError):
    """The child stopped because the pairs taught nothing worth learning."""


def write_config(settings: Settings, recipe: Recipe, dataset: Path, folder: Path) -> Path:
    """Write what the child needs to know into `folder`, which also gets its log and adapter."""
    folder.mkdir(mode=0o700, parents=True)
    config = {
        "base_model": settings.model,
        "train": str(dataset / "train.jsonl"),
        "output": str(folder / "adapter"),
        "recipe": asdict(recipe),
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
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


def events(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
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
            yield event
        error = event.get("error", error)
    code = child.wait()
    if code == 0:
        return
    if code == 3:
        raise Degenerated(error)
    if error:
        raise TrainingError(f"training failed: {error}")
    raise TrainerKilled(f"the training process ended with {code} and no reason; see its fit.log")


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
        "MALLOC_MMAP_THRESHOLD_": BIG_BLOCK_BYTES,
        "MALLOC_TRIM_THRESHOLD_": str(2 * int(BIG_BLOCK_BYTES)),
        "TOKENIZERS_PARALLELISM": "false",
        **inherited,
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
