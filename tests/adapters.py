"""Small random adapters for the demo model, written as PEFT writes them."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from core.settings import Settings


def write_adapter(folder, *, seed=0, rank=8, size=0.02, model=None):
    """A PEFT LoRA on the last layer of the demo model; `size` scales what it changes."""
    base = model or Settings(_env_file=None).model
    config = json.loads(Path(base, "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layer = f"base_model.model.model.layers.{config['num_hidden_layers'] - 1}"
    rng = np.random.default_rng(seed)
    tensors = {}
    for module, n_inputs in (("self_attn.o_proj", hidden), ("mlp.down_proj", inner)):
        a, b = rng.normal(size=(rank, n_inputs)), rng.normal(size=(hidden, rank)) * size
        tensors[f"{layer}.{module}.lora_A.weight"] = a.astype(np.float32)
        tensors[f"{layer}.{module}.lora_B.weight"] = b.astype(np.float32)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    lora = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["o_proj", "down_proj"],
        "base_model_name_or_path": base,
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(lora))
    return folder
