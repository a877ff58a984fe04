"""Which base model is served: its name and a hash of its files, so that a moved folder is known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

CONFIG = "config.json"
# Read whole: an adapter is right only for this shape, these tokens and this chat template.
WHOLE = ("tokenizer", "chat_template", "vocab", "merges", "special_tokens", "added_tokens")
WEIGHTS = (".safetensors", ".gguf", ".bin")  # in the order in which vLLM prefers them
EDGE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model as the settings name it; `sha256` is empty where its files can't be read."""

    name: str
    sha256: str = ""


@cache
def read_base_model(name: str) -> BaseModel:
    """
    Return the base model that the settings name: a folder, or a name on a model hub.

    Read once a process, as by the model server: other files count from the next start.
    """
    folder = _folder(name)
    return BaseModel(name, _content_sha256(folder) if folder else "")


def _folder(name: str) -> Path | None:
    """Return where the files lie; of a hub's name, in the local cache."""
    if Path(name).is_dir():
        return Path(name)
    try:
        config = try_to_load_from_cache(name, CONFIG)
    except ValueError:  # no hub could have such a name
        return None
    return Path(config).parent if isinstance(config, str) else None


def _content_sha256(folder: Path) -> str:
    """
    Hash what an adapter depends on; empty where the folder holds no whole model.

    Of the weights only name, size and both ends count: they can have hundreds of gigabytes, a
    chat waits for this at its start, and safetensors begin with the shape and place of every
    tensor. Other training gives other numbers at the ends, and another size tells the rest.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        weights = next(filter(None, ([p for p in files if p.suffix == s] for s in WEIGHTS)), [])
        whole = [p for p in files if p.name == CONFIG or p.name.startswith(WHOLE)]
        if not weights or not any(path.name == CONFIG for path in whole):
            return ""
        parts = [f"{p.name}\0{hashlib.sha256(p.read_bytes()).hexdigest()}\n" for p in whole]
        parts += [f"{p.name}\0{p.stat().st_size}\0{_edges_sha256(p)}\n" for p in weights]
    except OSError:
        return ""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _edges_sha256(path: Path) -> str:
    with path.open("rb") as file:
        ends = hashlib.sha256(file.read(EDGE_BYTES))
        file.seek(max(0, path.stat().st_size - EDGE_BYTES))
        ends.update(file.read(EDGE_BYTES))
    return ends.hexdigest()
