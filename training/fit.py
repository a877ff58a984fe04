"""
Train one LoRA adapter in a process of its own: `python -m training.fit CONFIG.json`.

Prints one JSON object per optimiser step, `{"step", "total_steps", "loss", "margin",
"accuracy"}`, and a last one, `{"adapter"}` or `{"error"}`. What is trained and how the steps
are read is the objective's; only this file and `training.objectives` import torch, trl and
peft. It always starts from the base model, never from an adapter, and ends itself when its
parent is gone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.jsonl import read_own_jsonl
from training.child import NO_MEMORY, OUT_OF_MEMORY, FitConfig
from training.objectives import Objective, find_objective
from training.objectives.objective import Material, Row
from training.recipe import Recipe

EXIT_BAD_CONFIG = 2
EXIT_DEGENERATE = 3
EXIT_MEMORY = 4
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

Report = Callable[[dict[str, Any]], None]  # takes what is to be printed


class Degenerate(Exception):
    """The objective found that going on is no use."""


def train_adapter(config: FitConfig, report: Report) -> Path:
    """
    Train on the rows of `config.train` and write a two-file adapter to `config.output`.

    Raises:
        Degenerate: The data taught nothing worth learning.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    objective = find_objective(config.objective)
    recipe = replace(objective.recipe, **config.recipe)
    objective = replace(objective, recipe=recipe)
    set_seed(recipe.seed)
    rows = _rows(config, objective)
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        _limit_memory(config.memory_gib)
    model = AutoModelForCausalLM.from_pretrained(
        config.base_model,
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        # On a CPU at this size plain attention is twice as fast as torch's fused one.
        attn_implementation="sdpa" if on_gpu else "eager",
    )
    material = Material(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(config.base_model),
        lora=lora_config(recipe, model.config.num_hidden_layers),
        rows=rows,
        arguments=_arguments(recipe, len(rows), config.output, model.config.hidden_size),
        callbacks=[_reporter(objective, report)],
    )
    trainer = objective.make_trainer(material)
    trainer.train()
    return _save(trainer.model, Path(config.output), config.base_model)


def _rows(config: FitConfig, objective: Objective) -> list[Row]:
    columns = ("prompt", *objective.columns)
    return [{name: row[name] for name in columns} for row in read_own_jsonl(Path(config.train))]


def lora_config(recipe: Recipe, n_layers: int) -> Any:
    """Return PEFT's description of the adapter: its rank, and the layers it changes."""
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.target_modules),
        layers_to_transform=list(range(n_layers))[-recipe.n_layers(n_layers) :],
        task_type="CAUSAL_LM",
    )


def _limit_memory(gib: float) -> None:
    """Let an allocation beyond this fail, instead of taking the machine's memory from others."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30), most))


def _lift_limit() -> None:
    """Give back the room that reporting needs, once there is nothing else left to do."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _is_out_of_memory(exc: Exception) -> bool:
    """Tell whether an allocation failed: Python, torch and the kernel each say it their way."""
    return NO_MEMORY.search(f"{type(exc).__name__} {exc}") is not None


def _has_fast_bf16() -> bool:
    """Tell whether bf16 is quicker than float32: on GPUs, and on CPUs that know it."""
    import torch

    return torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()


def _arguments(recipe: Recipe, n_train: int, output: str, hidden_size: int) -> dict[str, Any]:
    """Return what any trainer of Transformers and TRL takes."""
    import torch

    on_gpu = torch.cuda.is_available()
    n_steps = recipe.n_steps(n_train)
    rows_at_once = recipe.batch_size if on_gpu else recipe.rows_at_once
    return {
        "output_dir": f"{output}.work",
        "per_device_train_batch_size": rows_at_once,
        "gradient_accumulation_steps": recipe.batch_size // rows_at_once,
        "max_steps": n_steps,
        "learning_rate": recipe.learning_rate_at(hidden_size),
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(recipe.warmup_share * n_steps),
        "use_cpu": not on_gpu,
        "bf16": _has_fast_bf16(),
        "gradient_checkpointing": on_gpu,  # on a CPU memory is not what is short
        "dataloader_pin_memory": on_gpu,
        "logging_steps": 1,
        "logging_first_step": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "report_to": "none",
        "seed": recipe.seed,
    }


def _reporter(objective: Objective, report: Report) -> Any:
    """Return a callback that reports each step and stops a run that is no use."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            step = objective.read_step(state.global_step, logs or {})
            if step is None:
                return
            report({**asdict(step), "total_steps": state.max_steps})
            if fault := objective.fault(step):
                raise Degenerate(fault)

    return Reporter()


def _save(model: Any, output: Path, base_model: str) -> Path:
    """Write adapter_config.json and adapter_model.safetensors, and nothing else."""
    draft = Path(f"{output}.work") / "adapter"
    model.save_pretrained(draft, safe_serialization=True)
    config = json.loads((draft / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    (draft / ADAPTER_FILES[0]).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    output.mkdir(parents=True)
    for name in ADAPTER_FILES:
        (draft / name).rename(output / name)
    return output


def _end_with_parent() -> None:
    """End this process when stdin closes, which happens however the parent ended."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(config_path: str) -> int:
    """Train as the configuration says; all that libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def report(event: dict[str, Any]) -> None:
        answers.write(json.dumps(event) + "\n")

    config = FitConfig.read(Path(config_path))
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(sys.stderr.buffer)):
            adapter = train_adapter(config, report)
    except Degenerate as exc:
        report({"error": str(exc)})
        return EXIT_DEGENERATE
    except Exception as exc:  # noqa: BLE001 - whatever it is, the run's row is to say it
        _lift_limit()
        traceback.print_exc()
        if _is_out_of_memory(exc):
            report({"error": OUT_OF_MEMORY.format(gib=config.memory_gib)})
            return EXIT_MEMORY
        report({"error": " ".join(f"{type(exc).__name__}: {exc}".split())[:300]})
        return EXIT_BAD_CONFIG
    report({"adapter": str(adapter)})
    return 0


if __name__ == "__main__":
    _end_with_parent()
    sys.exit(main(sys.argv[1]))
