"""Adapter files: checked before anything loads them, hashed, copied to a place of their own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import safetensors
from psycopg import Connection

from core import learning
from core.errors import AdapterError
from core.settings import Settings
from core.types import Adapter
from core.vllm import ADAPTED_MODULES

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ALLOWED_FILES = {CONFIG_FILE, WEIGHTS_FILE, "README.md"}
# Formats that run code when they are opened.
PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
TENSOR_NAME = re.compile(
    r"base_model\.model\.model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.weight"
)
NUMPY_TYPES = {"F32": np.float32, "F16": np.float16}
BF16_EXPONENT = 0x7F80

Tensor = dict[str, Any]  # as safetensors.deserialize gives it: shape, dtype, data


def register(
    conn: Connection[Any], settings: Settings, folder: Path, run_id: UUID | None
) -> Adapter:
    """
    Check the adapter in `folder`, copy it to adapters/<new name> read-only, insert its row.

    The caller owns the transaction; if it is undone, a folder without a row stays behind and
    its name is never given out again.

    Raises:
        AdapterError: The files are corrupt, unsafe or of the wrong shape; nothing was copied.
    """
    rank = verify(folder, settings.model, settings.max_lora_rank)
    version, name = learning.next_adapter_name(conn)
    while (settings.adapters / name).exists():  # of a database that is gone
        version, name = learning.next_adapter_name(conn)
    target = _copy_read_only(folder, settings.adapters / name)
    return learning.insert_adapter(
        conn,
        name=name,
        version=version,
        run_id=run_id,
        path=str(target.absolute()),
        sha256=content_sha256(target),
        base_model=settings.model,
        rank=rank,
    )


def verify(folder: Path, base_model: str, max_rank: int) -> int:
    """
    Return the adapter's rank if vLLM may safely load it onto this base model.

    Raises:
        AdapterError: With the first reason why not.
    """
    _check_files(folder)
    rank = _check_config(folder / CONFIG_FILE, max_rank)
    tensors = _read_tensors(folder / WEIGHTS_FILE)
    widths = _module_widths(base_model)
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, rank, widths)
    for name in tensors:
        twin = (
            name.replace("lora_A", "lora_B")
            if "lora_A" in name
            else name.replace("lora_B", "lora_A")
        )
        if twin not in tensors:
            raise AdapterError(f"{WEIGHTS_FILE} has {name} but not {twin}; train again")
    return rank


def verify_unchanged(adapter: Adapter) -> None:
    """
    Check that a registered adapter's files are still those that were registered.

    Raises:
        AdapterError: They are missing or changed.
    """
    folder = Path(adapter.path)
    if not folder.is_dir():
        raise AdapterError(f"{adapter.name}: the folder {folder} is gone; restore it")
    if content_sha256(folder) != adapter.sha256:
        raise AdapterError(f"{adapter.name}: its files changed since it was registered; not loaded")


def content_sha256(folder: Path) -> str:
    """Return one hash over the names and contents of a folder's files."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterError(f"no adapter folder {folder}")
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLED:
            raise AdapterError(
                f"{path.name} is a pickle, which can run code; save the adapter as safetensors"
            )
        if path.name not in ALLOWED_FILES or path.is_symlink() or not path.is_file():
            raise AdapterError(f"{path.name} does not belong into an adapter; remove it")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise AdapterError(f"{folder} has no {name}; is it a PEFT LoRA adapter?")


def _check_config(path: Path, max_rank: int) -> int:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, rank = config["peft_type"], config["r"]
        modules = set(config["target_modules"])
    except (ValueError, KeyError, TypeError) as exc:
        raise AdapterError(f"{path.name} can't be read as a LoRA configuration: {exc!r}") from exc
    if kind != "LORA":
        raise AdapterError(f"{path.name}: peft_type is {kind}, only LORA can be served")
    if not isinstance(rank, int) or not 1 <= rank <= max_rank:
        raise AdapterError(f"{path.name}: rank {rank} is not within 1 and {max_rank}")
    if other := sorted(modules - set(ADAPTED_MODULES)):
        raise AdapterError(f"{path.name}: layers {other} are not served, only {ADAPTED_MODULES}")
    if config.get("use_dora") or config.get("modules_to_save"):
        raise AdapterError(f"{path.name}: DoRA and fully saved modules are not served")
    return rank


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = dict(safetensors.deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as exc:
        raise AdapterError(f"{path.name} is not a whole safetensors file: {exc}") from exc
    if not tensors:
        raise AdapterError(f"{path.name} holds no weights")
    return tensors


def _module_widths(base_model: str) -> dict[str, tuple[int, int]] | None:
    """Return (inputs, outputs) of each adapted module; None when the base is not a folder."""
    path = Path(base_model) / "config.json"
    if not path.is_file():
        return None  # named on a hub; vLLM compares the shapes when it loads
    config = json.loads(path.read_text(encoding="utf-8"))
    hidden, n_heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // n_heads
    return {
        "o_proj": (n_heads * head, hidden),
        "down_proj": (config["intermediate_size"], hidden),
        "n_layers": (config["num_hidden_layers"], 0),
    }


def _check_tensor(
    name: str, tensor: Tensor, rank: int, widths: dict[str, tuple[int, int]] | None
) -> None:
    match = TENSOR_NAME.fullmatch(name)
    if match is None or match[2] not in ADAPTED_MODULES:
        raise AdapterError(f"{name} is not a LoRA weight of {' or '.join(ADAPTED_MODULES)}")
    if widths is not None:
        n_inputs, n_outputs = widths[match[2]]
        expected = [rank, n_inputs] if match[3] == "A" else [n_outputs, rank]
        if list(tensor["shape"]) != expected or int(match[1]) >= widths["n_layers"][0]:
            raise AdapterError(
                f"{name} has shape {list(tensor['shape'])}, the base model needs {expected}; "
                "was it trained on another base?"
            )
    if not _is_finite(tensor):
        raise AdapterError(f"{name} holds numbers that are not finite; the training diverged")


def _is_finite(tensor: Tensor) -> bool:
    kind = tensor["dtype"]
    if kind == "BF16":  # numpy has no such type: infinite and NaN have all exponent bits set
        bits = np.frombuffer(tensor["data"], np.uint16)
        return not bool(((bits & BF16_EXPONENT) == BF16_EXPONENT).any())
    if kind not in NUMPY_TYPES:
        raise AdapterError(f"weights of type {kind} are not served; save them as F32 or BF16")
    return bool(np.isfinite(np.frombuffer(tensor["data"], NUMPY_TYPES[kind])).all())


def _copy_read_only(folder: Path, target: Path) -> Path:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(mode=0o755, parents=True)
    try:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(folder / name, draft / name)
            (draft / name).chmod(0o444)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already when all went well
    target.chmod(0o555)
    return target
