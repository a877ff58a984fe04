"""
Train one LoRA adapter by DPO in a process of its own: `python -m training.fit CONFIG.json`.

Prints one JSON object per optimiser step, `{"step", "total_steps", "loss", "margin",
"accuracy"}`, and a last one, `{"adapter"}` or `{"error"}`. The only file that imports torch,
trl and peft. It always starts from the base model, never from an adapter, and ends itself
when its parent is gone.
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
from pathlib import Path
from typing import Any

from core.jsonl import read_own_jsonl
from training.child import NO_MEMORY, OUT_OF_MEMORY
from training.recipe import Recipe, is_degenerate

EXIT_BAD_CONFIG = 2
EXIT_DEGENERATE = 3
EXIT_MEMORY = 4
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Degenerate(Exception):
    """The run reached loss 0 and accuracy 1 within a few steps."""


def train_adapter(config: dict[str, Any], report: Any) -> Path:
    """
    Train on config["train"] and write a two-file adapter to config["output"].

    Args:
        config: {"base_model": folder or hub name, "train": JSONL of prompt/chosen/rejected,
            "output": a folder to make, "recipe": the fields of Recipe}.
        report: called with one dict per optimiser step.

    Raises:
        Degenerate: The data taught nothing worth learning.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import DPOTrainer  # type: ignore[attr-defined]

    recipe = Recipe(**config["recipe"])
    set_seed(recipe.seed)
    columns = ("prompt", "chosen", "rejected")
    rows = [{name: row[name] for name in columns} for row in read_own_jsonl(Path(config["train"]))]
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        _limit_memory(config["memory_gib"])
    model = AutoModelForCausalLM.from_pretrained(
        config["base_model"],
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        # On a CPU at this size plain attention is twice as fast as torch's fused one.
        attn_implementation="sdpa" if on_gpu else "eager",
    )
    n_layers = model.config.num_hidden_layers
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.target_modules),
        layers_to_transform=list(range(n_layers))[-recipe.n_layers(n_layers) :],
        task_type="CAUSAL_LM",
    )
    trainer = DPOTrainer(
        model=model,
        args=_arguments(recipe, len(rows), config["output"], model.config.hidden_size),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(config["base_model"]),
        peft_config=lora,
        callbacks=[_reporter(report)],
    )
    trainer.train()
    return _save(trainer.model, Path(config["output"]), config["base_model"])


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


def _arguments(recipe: Recipe, n_train: int, output: str, hidden_size: int) -> Any:
    import torch
    from trl import DPOConfig  # type: ignore[attr-defined]

    on_gpu = torch.cuda.is_available()
    n_steps = recipe.n_steps(n_train)
    rows_at_once = recipe.batch_size if on_gpu else recipe.rows_at_once
    return DPOConfig(
        output_dir=f"{output}.work",
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=recipe.batch_size // rows_at_once,
        max_steps=n_steps,
        learning_rate=recipe.learning_rate_at(hidden_size),
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_share * n_steps),
        beta=recipe.beta,
        loss_type=list(recipe.loss_types),
        loss_weights=list(recipe.loss_weights),
        max_length=recipe.max_length,
        precompute_ref_log_probs=True,  # the base is the reference: once, not once an epoch
        use_cpu=not on_gpu,
        bf16=_has_fast_bf16(),
        gradient_checkpointing=on_gpu,  # on a CPU memory is not what is short
        dataloader_pin_memory=on_gpu,
        logging_steps=1,
        logging_first_step=True,
        disable_tqdm=True,
        save_strategy="no",
        report_to="none",
        seed=recipe.seed,
    )


def _reporter(report: Any) -> Any:
    """Return a callback that reports each step and stops a degenerate run."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "rewards/margins" not in logs:
                return
            margin, accuracy = logs["rewards/margins"], logs["rewards/accuracies"]
            report(
                {
                    "step": state.global_step,
                    "total_steps": state.max_steps,
                    "loss": logs["loss"],
                    "margin": margin,
                    "accuracy": accuracy,
                }
            )
            if is_degenerate(state.global_step, margin, accuracy):
                raise Degenerate(
                    f"loss 0 and accuracy 1 after {state.global_step} steps: the pairs differ by "
                    "something trivial; look at the newest corrections"
                )

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

    config = json.loads(Path(config_path).read_text(encoding="utf-8"))
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
            report({"error": OUT_OF_MEMORY.format(gib=config["memory_gib"])})
            return EXIT_MEMORY
        report({"error": " ".join(f"{type(exc).__name__}: {exc}".split())[:300]})
        return EXIT_BAD_CONFIG
    report({"adapter": str(adapter)})
    return 0


if __name__ == "__main__":
    _end_with_parent()
    sys.exit(main(sys.argv[1]))
