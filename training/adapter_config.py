"""adapter_config.json: read by an allow-list of keys and values, written anew from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from core.errors import AdapterError
from core.vllm import ADAPTED_MODULES

CONFIG_FILE = "adapter_config.json"
MAX_CONFIG_BYTES = 64 * 1024  # PEFT writes about 1.5 KB
# The update is scaled by alpha / rank: ours is 2, published recipes go up to 8.
MAX_SCALE = 16
MAX_LAYERS = 1024

# What PEFT writes besides, each with the only values that change nothing in what is served.
INERT: dict[str, tuple[Any, ...]] = {
    "alora_invocation_tokens": (None,),
    "alpha_pattern": (None, {}),
    "arrow_config": (None,),
    "auto_mapping": (None,),
    "bias": ("none",),
    "corda_config": (None,),
    "ensure_weight_tying": (False,),
    "eva_config": (None,),
    "exclude_modules": (None,),
    "fan_in_fan_out": (False,),
    "inference_mode": (True, False),
    "init_lora_weights": (True,),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "layers_pattern": (None,),
    "loftq_config": (None, {}),
    "lora_bias": (False,),
    "lora_ga_config": (None,),
    "megatron_config": (None,),
    "megatron_core": ("megatron.core",),
    "modules_to_save": (None,),
    "monteclora_config": (None,),
    "qalora_group_size": (16,),
    "rank_pattern": (None, {}),
    "revision": (None,),
    "target_parameters": (None,),
    "task_type": ("CAUSAL_LM", None),
    "trainable_token_indices": (None,),
    "use_bdlora": (None,),
    "use_dora": (False,),
    "use_qalora": (False,),
    "use_rslora": (False,),
    "velora_config": (None,),
}
# Said for people or used in training only; never written into what is served.
IGNORED: dict[str, Callable[[Any], bool]] = {
    "base_model_name_or_path": lambda value: value is None or _is_short_text(value),
    "lora_dropout": lambda value: _is_number(value) and 0 <= value < 1,
    "peft_version": lambda value: value is None or _is_short_text(value),
}
READ = {"peft_type", "r", "lora_alpha", "target_modules", "layers_to_transform"}


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter's configuration says, all of it; `layers` is None where it names none."""

    rank: int
    alpha: float
    modules: frozenset[str]
    layers: frozenset[int] | None


def parse_config(raw: bytes, max_rank: int) -> AdapterConfig:
    """
    Return what the file says.

    Raises:
        AdapterError: It is no JSON object, or holds a key or value that is not understood.
    """
    fields = _read_object(raw)
    for name in ("peft_type", "r", "lora_alpha", "target_modules"):
        if name not in fields:
            raise _unreadable(f"{name} is missing")
    if fields["peft_type"] != "LORA":
        raise _refused(f"peft_type is {_shown(fields['peft_type'])}, only LORA can be served")
    for name, value in fields.items():
        _check_unread(name, value)
    rank = _rank(fields["r"], max_rank)
    return AdapterConfig(
        rank=rank,
        alpha=_alpha(fields["lora_alpha"], rank),
        modules=_modules(fields["target_modules"]),
        layers=_layers(fields.get("layers_to_transform")),
    )


def canonical_config(
    config: AdapterConfig, modules: frozenset[str], layers: frozenset[int], base_model: str
) -> bytes:
    """Return the file as it is registered: nothing of the original's text, only what it meant."""
    fields = {
        "base_model_name_or_path": base_model,
        "bias": "none",
        "inference_mode": True,
        "layers_to_transform": sorted(layers),
        "lora_alpha": config.alpha,
        "peft_type": "LORA",
        "r": config.rank,
        "target_modules": sorted(modules),
        "task_type": "CAUSAL_LM",
    }
    return (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode()


def _read_object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_CONFIG_BYTES:
        raise _unreadable(f"it has more than {MAX_CONFIG_BYTES // 1024} KB")
    try:
        found = json.loads(
            raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats
        )
    except RecursionError as exc:
        raise _unreadable("it is nested too deeply") from exc
    except ValueError as exc:  # not UTF-8, not JSON, NaN, a repeated key, a number too long
        raise _unreadable(str(exc)) from exc
    if not isinstance(found, dict):
        raise _unreadable("it is no JSON object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two values they take: one would check what another serves.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _check_unread(name: str, value: Any) -> None:
    if name in READ:
        return
    if name in IGNORED:
        if not IGNORED[name](value):
            raise _refused(f"{name} is {_shown(value)}, which is not understood")
    elif name not in INERT:
        raise _refused(f"the key {_shown(name)} is not known; save the adapter with PEFT's LoRA")
    elif not any(type(value) is type(plain) and value == plain for plain in INERT[name]):
        raise _refused(f"{name} is {_shown(value)}, which is not served; train without it")


def _rank(value: Any, max_rank: int) -> int:
    if type(value) is not int or not 1 <= value <= max_rank:
        raise _refused(f"rank {_shown(value)} is not within 1 and {max_rank}")
    return value


def _alpha(value: Any, rank: int) -> float:
    if not _is_number(value) or not 0 < value <= MAX_SCALE * rank:
        raise _refused(f"lora_alpha {_shown(value)} is not above 0 and at most {MAX_SCALE} x rank")
    found: float = value
    return found


def _modules(value: Any) -> frozenset[str]:
    # A plain string would be a regular expression, "all-linear" every layer there is.
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise _refused(f"target_modules is {_shown(value)}, not a list of layers' names")
    if other := sorted(set(value) - set(ADAPTED_MODULES)):
        raise _refused(f"layers {_shown(other)} are not served, only {ADAPTED_MODULES}")
    return frozenset(value)


def _layers(value: Any) -> frozenset[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or len(value) > MAX_LAYERS:
        raise _refused(f"layers_to_transform is {_shown(value)}, not a list of layers' numbers")
    if not all(type(layer) is int and 0 <= layer < MAX_LAYERS for layer in value):
        raise _refused(f"layers_to_transform holds what is no layer's number: {_shown(value)}")
    return frozenset(value)


def _is_number(value: Any) -> bool:
    # An integer is finite, and one of 400 digits can't be made a float to ask.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_short_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1024


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _refused(reason: str) -> AdapterError:
    return AdapterError(f"{CONFIG_FILE}: {reason}")


def _unreadable(reason: str) -> AdapterError:
    return AdapterError(f"{CONFIG_FILE} can't be read as a LoRA configuration: {reason}")
