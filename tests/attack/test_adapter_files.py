"""Hostile adapter files: each is refused in one line, and nothing of one is ever copied."""

import json
import os
from dataclasses import fields

import numpy as np
import pytest
from peft import LoraConfig
from safetensors.numpy import load_file, save_file

from core.errors import AdapterError
from core.settings import Settings
from tests.adapters import write_adapter
from training.adapter_config import IGNORED, INERT, READ
from training.registry import read_adapter, register, verify_unchanged

MODEL = Settings(_env_file=None).model
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A sound adapter, to be spoilt."""
    return write_adapter(tmp_path / "adapter")


def spoil(folder, **changes):
    """Change fields of the configuration; NaN and Infinity are written as Python writes them."""
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil_text(folder, old, new):
    """Replace text in the configuration, for what no JSON writer would write."""
    path = folder / CONFIG
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def spoil_weights(folder, change):
    """Pass the tensors through a function."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def refusal(folder, model=MODEL):
    """Why this adapter is refused: one line that names the file or the weight."""
    with pytest.raises(AdapterError) as refused:
        read_adapter(folder, model, 16)
    text = str(refused.value)
    assert 1 == len(text.splitlines())
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    "alpha", [float("nan"), float("inf"), 1e30, -1, 0, True, "16", None, [16], 16 * 8 + 1]
)
def test_a_scale_out_of_range_is_refused(folder, alpha):
    """alpha multiplies every weight: at 1e30 the model answers noise, at NaN nothing."""
    spoil(folder, lora_alpha=alpha)

    assert CONFIG in refusal(folder)


@pytest.mark.parametrize(
    "text", ["1e999", "-1e999", "1" * 5000, "1" * 400, "-" + "1" * 400, "NaN", "Infinity"]
)
def test_a_number_that_is_none_is_refused(folder, text):
    """JSON readers turn 1e999 into infinity, and Python's takes NaN though JSON has none."""
    spoil_text(folder, '"lora_alpha": 16', f'"lora_alpha": {text}')

    assert CONFIG in refusal(folder)


def test_a_whole_number_too_large_to_be_a_fraction_is_refused(folder):
    """Python's own readers raise something else for it, which no caller expects."""
    spoil(folder, lora_dropout=10**400)

    assert "lora_dropout" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rank_pattern", {".*": 16}),
        ("rank_pattern", {"(a+)+$": 8}),
        ("alpha_pattern", {"o_proj": 1e30}),
        ("bias", "all"),
        ("bias", None),
        ("use_rslora", True),
        ("use_rslora", 1),
        ("use_dora", True),
        ("lora_bias", True),
        ("lora_bias", "yes"),
        ("modules_to_save", ["lm_head"]),
        ("modules_to_save", ["score"]),
        ("auto_mapping", {"base_model_class": "os", "parent_library": "os"}),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", 1),
        ("layer_replication", [[0, 6], [0, 6]]),
        ("layers_pattern", ".*"),
        ("exclude_modules", "o_proj"),
        ("target_parameters", ["mlp.experts"]),
        ("trainable_token_indices", [1, 2]),
        ("megatron_core", "attacker.module"),
        ("megatron_config", {}),
        ("loftq_config", {"loftq_bits": 4}),
        ("use_qalora", True),
        ("qalora_group_size", 0),
        ("fan_in_fan_out", True),
        ("lora_dropout", -1),
        ("lora_dropout", "no"),
        ("revision", "../../elsewhere"),
        ("task_type", "SEQ_CLS"),
        ("peft_version", ["0.21"]),
        ("base_model_name_or_path", {"a": 1}),
        ("peft_type", ["LORA"]),
        ("vllm_lora_scaling_factor", 1e30),
        ("vllm_max_position_embeddings", 1),
        ("runtime_config", None),
        ("__class__", "x"),
    ],
)
def test_a_key_or_value_that_changes_what_is_served_is_refused(folder, key, value):
    """vLLM obeys more keys than we gate; the list names what may be said, not what may not."""
    spoil(folder, **{key: value})

    assert CONFIG in refusal(folder)


@pytest.mark.parametrize(
    "modules", ["o_proj", "all-linear", ".*", [], [["o_proj"]], {"o_proj": 1}, ["o_proj", 1], None]
)
def test_target_modules_are_a_list_of_names(folder, modules):
    """A string is a regular expression over every layer of the model."""
    spoil(folder, target_modules=modules)

    assert "target_modules" in refusal(folder)


@pytest.mark.parametrize(
    "layers", [[], "5", 5, [True], [-1], [5.0], [10**9], [5] * 2000, [4], {"5": 1}]
)
def test_layers_that_are_not_those_of_the_weights_are_refused(folder, layers):
    """The weights are of layer 5; a configuration that says otherwise is not of these weights."""
    spoil(folder, layers_to_transform=layers)

    assert "layer" in refusal(folder)


def test_a_key_that_stands_twice_is_refused(folder):
    """Of two values one reader checks the first and another serves the second."""
    spoil_text(folder, '"lora_alpha": 16', '"lora_alpha": 16, "lora_alpha": 16')

    assert "twice" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000,
        '{"a":' * 10_000,
        '{"r": 8' + " " * 100_000 + "}",
        "\udcff".encode("utf-8", "surrogateescape"),
    ],
)
def test_a_text_made_to_break_the_reader_is_refused(folder, text):
    """Deep, long or broken text ends in one line, not in a traceback or a full memory."""
    raw = text if isinstance(text, bytes) else text.encode()
    (folder / CONFIG).write_bytes(raw)

    assert CONFIG in refusal(folder)


@pytest.mark.parametrize("value", [1e30, -1e30, 65.0, np.finfo(np.float32).max])
@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_weights_no_training_makes_are_refused(folder, value, half):
    """One huge weight drowns the whole base model, and is finite."""

    def blow_up(tensors):
        name = next(name for name in tensors if half in name)
        tensors[name][0, 0] = value
        return tensors

    spoil_weights(folder, blow_up)

    assert "the training diverged" in refusal(folder)


def test_huge_weights_in_bf16_are_refused(folder):
    """numpy knows no bf16, so its numbers are easily left unchecked."""
    import torch
    from safetensors.torch import save_file as save_torch

    tensors = {k: torch.from_numpy(v).bfloat16() for k, v in load_file(folder / WEIGHTS).items()}
    save_torch(tensors, folder / WEIGHTS)
    assert 8 == read_adapter(folder, MODEL, 16).config.rank
    next(iter(tensors.values()))[0, 0] = 1e30
    save_torch(tensors, folder / WEIGHTS)

    assert "the training diverged" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.layers.5.mlp.o_proj.lora_A.weight",
        "base_model.model.model.layers.05.self_attn.o_proj.lora_A.weight",
        "base_model.model.model.layers.٥.self_attn.o_proj.lora_A.weight",
        "base_model.model.model.embed_tokens.lora_A.weight",
        "base_model.model.lm_head.weight",
        "x" * 5000,
    ],
)
def test_a_weight_that_is_served_nowhere_is_refused(folder, name):
    """vLLM leaves out what it does not know, and serves what nobody gated."""
    spoil_weights(folder, lambda tensors: {**tensors, name: np.zeros((8, 256), np.float32)})

    assert "is not a LoRA weight" in refusal(folder)


@pytest.mark.parametrize("model", [MODEL, "hub/name"])
def test_a_file_larger_than_its_rank_needs_is_not_read_to_its_end(folder, model):
    """A sparse file of a terabyte costs its author nothing and would fill the memory."""
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(2**40)

    assert "more than" in refusal(folder, model)


def test_weights_of_another_rank_are_refused_for_a_base_on_a_hub(folder):
    """Where the base's shape is not known, the weights must still agree with the configuration."""
    spoil(folder, r=4)

    assert "not of rank 4" in refusal(folder, "hub/name")


def test_a_pipe_in_a_registered_folder_does_not_hang_the_check(conn, settings, folder):
    """Whoever can write there could stop every promotion by one pipe."""
    adapter = register(conn, settings, folder, None)
    registered = settings.adapters / adapter.name
    registered.chmod(0o755)
    os.mkfifo(registered / "pipe")

    with pytest.raises(AdapterError, match="changed since it was registered"):
        verify_unchanged(adapter)


def test_a_link_in_a_registered_folder_is_not_followed(conn, settings, folder):
    """/dev/zero has no end."""
    adapter = register(conn, settings, folder, None)
    registered = settings.adapters / adapter.name
    registered.chmod(0o755)
    (registered / "zero").symlink_to("/dev/zero")

    with pytest.raises(AdapterError, match="changed since it was registered"):
        verify_unchanged(adapter)


def test_what_is_registered_is_written_anew(conn, settings, folder):
    """vLLM reads only what we wrote: no key, blank or escape of the file that came."""
    spoil(folder, lora_dropout=0.5, peft_version="0.21.2", base_model_name_or_path="/elsewhere")
    adapter = register(conn, settings, folder, None)

    written = json.loads((settings.adapters / adapter.name / CONFIG).read_text())

    assert {
        "base_model_name_or_path": settings.model,
        "bias": "none",
        "inference_mode": True,
        "layers_to_transform": [5],
        "lora_alpha": 16,
        "peft_type": "LORA",
        "r": 8,
        "target_modules": ["down_proj", "o_proj"],
        "task_type": "CAUSAL_LM",
    } == written


def test_what_peft_writes_passes(folder):
    """The trainer's own files are let through, with all that PEFT adds to them."""
    lora = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["o_proj", "down_proj"],
        layers_to_transform=[5],
        task_type="CAUSAL_LM",
    )
    lora.save_pretrained(folder)

    assert 8 == read_adapter(folder, MODEL, 16).config.rank


def test_every_key_of_the_installed_peft_is_known():
    """A new PEFT with a new key is noticed here, not when a night's training can't be served."""
    known = set(INERT) | set(IGNORED) | READ

    assert {field.name for field in fields(LoraConfig)} - {"runtime_config"} <= known
