"""Which adapter files are let near the server."""

import json
import pickle
import stat

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import AdapterError
from core.settings import Settings
from tests.adapters import write_adapter
from training.registry import content_sha256, verify

MODEL = Settings(_env_file=None).model


@pytest.fixture
def folder(tmp_path):
    """A sound adapter."""
    return write_adapter(tmp_path / "adapter")


def change_config(folder, **fields):
    """Change fields of adapter_config.json."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_weights(folder, change):
    """Pass the tensors through a function."""
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def reason(folder, max_rank=16):
    """Why this adapter is refused."""
    with pytest.raises(AdapterError) as refused:
        verify(folder, MODEL, max_rank)
    return str(refused.value)


def test_a_sound_adapter_is_accepted_with_its_rank(folder):
    """What the trainer writes must pass."""
    assert 8 == verify(folder, MODEL, 16)


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "extra.pkl"])
def test_a_pickle_anywhere_is_refused(folder, name):
    """Opening a pickle runs whatever its author wrote."""
    (folder / name).write_bytes(pickle.dumps({}))

    assert f"{name} is a pickle" in reason(folder)


def test_a_link_is_refused(folder):
    """It could lead to any file of the server."""
    (folder / "README.md").symlink_to("/etc/passwd")

    assert "README.md does not belong" in reason(folder)


def test_weights_cut_off_in_the_middle_are_refused(folder):
    """A copy that broke off must not be served."""
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    assert "not a whole safetensors file" in reason(folder)


def test_a_missing_file_is_named(folder):
    """The person who copied the folder can then repair it."""
    (folder / "adapter_model.safetensors").unlink()

    assert "has no adapter_model.safetensors" in reason(folder)


@pytest.mark.parametrize("text", ["not json", "{}", "[]"])
def test_a_config_that_is_none_is_refused(folder, text):
    """Without rank and layers nothing can be checked."""
    (folder / "adapter_config.json").write_text(text)

    assert "can't be read as a LoRA configuration" in reason(folder)


@pytest.mark.parametrize("rank", [0, 17, "8"])
def test_a_rank_the_server_was_not_started_for_is_refused(folder, rank):
    """vLLM reserves memory for the highest rank at its start."""
    change_config(folder, r=rank)

    assert "is not within 1 and 16" in reason(folder)


def test_another_kind_of_adapter_is_refused(folder):
    """Prompt tuning trains well and can't be served."""
    change_config(folder, peft_type="PROMPT_TUNING")

    assert "only LORA can be served" in reason(folder)


def test_layers_that_are_not_served_are_refused(folder):
    """vLLM would leave them out silently, and serve something nobody gated."""
    change_config(folder, target_modules=["q_proj", "o_proj"])

    assert "['q_proj'] are not served" in reason(folder)


def test_weights_for_another_base_are_refused(folder):
    """The shapes give it away before the server fails on them."""
    change_weights(folder, lambda tensors: {k: v[:, :-1].copy() for k, v in tensors.items()})

    assert "trained on another base" in reason(folder)


def test_weights_that_are_not_finite_are_refused(folder):
    """A training that diverged answers with noise."""
    change_weights(folder, lambda tensors: {k: np.full_like(v, np.nan) for k, v in tensors.items()})

    assert "not finite" in reason(folder)


def test_half_a_pair_of_matrices_is_refused(folder):
    """A without B changes nothing, B without A is an error in the server."""
    change_weights(
        folder, lambda tensors: {k: v for k, v in tensors.items() if "down_proj.lora_B" not in k}
    )

    assert "but not" in reason(folder)


def test_the_hash_is_of_names_and_contents(folder, tmp_path):
    """Any change of a registered adapter is noticed."""
    before = content_sha256(folder)
    (folder / "adapter_config.json").chmod(stat.S_IRUSR | stat.S_IWUSR)
    change_config(folder, note="changed")

    assert before != content_sha256(folder)
    assert before == content_sha256(write_adapter(tmp_path / "same"))
