"""adapter_model.safetensors: LoRA weights of the expected names, shapes, size and magnitude."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from core.errors import AdapterError
from core.vllm import ADAPTED_MODULES
from training.adapter_config import AdapterConfig

WEIGHTS_FILE = "adapter_model.safetensors"
PARENTS = {"o_proj": "self_attn", "down_proj": "mlp"}  # where a layer keeps each module
TENSOR_NAME = re.compile(
    r"base_model\.model\.model\.layers\.(0|[1-9][0-9]{0,3})\.(self_attn|mlp)\.(\w+)"
    r"\.lora_([AB])\.weight",
    re.ASCII,
)
NUMPY_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
BYTES_PER_NUMBER = 4
# Adam moves no weight by much more than the learning rate a step: at 5e-3 that is 50 after ten
# thousand steps. Ours stay below 0.2: what is larger did not come from a training that went well.
MAX_MAGNITUDE = 64.0
# Of a base whose shape is not known here; the widest public Llama (405B) needs 52 MB a rank.
MAX_BYTES_PER_RANK = 64 * 2**20
HEADER_BYTES = 8 + 256 * 1024  # the names and places of a thousand tensors

Tensor = dict[str, Any]  # as safetensors.deserialize gives it: shape, dtype, data


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Of a base model, what its adapters' weights must fit; widths are (inputs, outputs)."""

    widths: dict[str, tuple[int, int]]
    n_layers: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """Which modules of which layers the weights change."""

    modules: frozenset[str]
    layers: frozenset[int]


def base_shape(base_model: str) -> BaseShape | None:
    """Return the base's shape; None when it is no folder but named on a model hub."""
    path = Path(base_model) / "config.json"
    if not path.is_file():
        return None  # vLLM compares the shapes when it loads
    config = json.loads(path.read_text(encoding="utf-8"))
    hidden, n_heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // n_heads
    widths = {
        "o_proj": (n_heads * head, hidden),
        "down_proj": (config["intermediate_size"], hidden),
    }
    return BaseShape(widths, config["num_hidden_layers"])


def max_file_bytes(config: AdapterConfig, base: BaseShape | None) -> int:
    """Return how large the weights' file may be for this rank on this base."""
    if base is None:
        return HEADER_BYTES + MAX_BYTES_PER_RANK * config.rank
    per_layer = sum(sum(base.widths[module]) for module in config.modules)
    return HEADER_BYTES + base.n_layers * per_layer * config.rank * BYTES_PER_NUMBER


def check_weights(raw: bytes, config: AdapterConfig, base: BaseShape | None) -> Adapted:
    """
    Return what the weights adapt, if they are those that `config` speaks of.

    Raises:
        AdapterError: With the first reason why they may not be served.
    """
    tensors = _read_tensors(raw)
    places = set()
    for name, tensor in tensors.items():
        layer, module = _check_name(name, config)
        _check_shape(name, tensor, config.rank, base)
        _check_numbers(name, tensor)
        if _twin(name) not in tensors:
            raise AdapterError(f"{WEIGHTS_FILE} has {name} but not {_twin(name)}; train again")
        places.add((layer, module))
    return Adapted(frozenset(m for _, m in places), frozenset(layer for layer, _ in places))


def _read_tensors(raw: bytes) -> dict[str, Tensor]:
    try:
        found: list[tuple[str, Tensor]] = safetensors.deserialize(raw)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as exc:
        raise AdapterError(f"{WEIGHTS_FILE} is not a whole safetensors file: {exc}") from exc
    if not found:
        raise AdapterError(f"{WEIGHTS_FILE} holds no weights")
    return dict(found)


def _check_name(name: str, config: AdapterConfig) -> tuple[int, str]:
    match = TENSOR_NAME.fullmatch(name)
    if match is None or PARENTS.get(match[3]) != match[2]:
        raise AdapterError(f"{name[:120]!r} is not a LoRA weight of {' or '.join(ADAPTED_MODULES)}")
    layer, module = int(match[1]), match[3]
    if module not in config.modules or layer not in (config.layers or {layer}):
        raise AdapterError(f"{name} is not among the layers that the configuration names")
    return layer, module


def _check_shape(name: str, tensor: Tensor, rank: int, base: BaseShape | None) -> None:
    match = TENSOR_NAME.fullmatch(name)
    assert match is not None  # _check_name came before
    shape, is_a = list(tensor["shape"]), match[4] == "A"
    if base is None:
        if len(shape) != 2 or shape[0 if is_a else 1] != rank:
            raise AdapterError(f"{name} has shape {shape}, which is not of rank {rank}")
        return
    n_inputs, n_outputs = base.widths[match[3]]
    expected = [rank, n_inputs] if is_a else [n_outputs, rank]
    if shape != expected or int(match[1]) >= base.n_layers:
        raise AdapterError(
            f"{name} has shape {shape}, the base model needs {expected} in {base.n_layers} layers; "
            "was it trained on another base?"
        )


def _check_numbers(name: str, tensor: Tensor) -> None:
    if tensor["dtype"] not in NUMPY_TYPES:
        raise AdapterError(
            f"weights of type {tensor['dtype']} are not served; save them as F32 or BF16"
        )
    numbers = _numbers(tensor)
    if not np.isfinite(numbers).all():
        raise AdapterError(f"{name} holds numbers that are not finite; the training diverged")
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest > MAX_MAGNITUDE:
        raise AdapterError(
            f"{name} holds {largest:.3g}, no trained weight is above {MAX_MAGNITUDE:.0f}; "
            "the training diverged"
        )


def _numbers(tensor: Tensor) -> NDArray[Any]:
    numbers = np.frombuffer(tensor["data"], NUMPY_TYPES[tensor["dtype"]])
    if tensor["dtype"] == "BF16":  # numpy has no such type: it is the upper half of a float32
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _twin(name: str) -> str:
    stem, _, letter = name.removesuffix(".weight").rpartition("_")
    return f"{stem}_{'B' if letter == 'A' else 'A'}.weight"
