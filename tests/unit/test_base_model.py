"""Which base model it is: by its files, wherever they lie."""

import os

import pytest

from core.base_model import EDGE_BYTES, BaseModel, read_base_model


def write_model(folder, **changed):
    """A folder as a model comes in, its weights longer than both ends together."""
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": b"\1" * (3 * EDGE_BYTES),
    }
    folder.mkdir()
    for name, content in (files | changed).items():
        (folder / name).write_bytes(content)
    return str(folder)


def test_a_moved_folder_is_the_same_model(tmp_path):
    """An update that unpacks into another folder must not retire what was learned."""
    here, there = write_model(tmp_path / "here"), write_model(tmp_path / "there")

    assert read_base_model(here).sha256 == read_base_model(there).sha256 != ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"hidden_size": 64}'),
        ("tokenizer.json", b'{"added": 1}'),
        ("chat_template.jinja", b"{{ other }}"),
        ("model.safetensors", b"\2" + b"\1" * (3 * EDGE_BYTES - 1)),
        ("model.safetensors", b"\1" * (3 * EDGE_BYTES - 1) + b"\2"),
        ("model.safetensors", b"\1" * (3 * EDGE_BYTES + 1)),
    ],
)
def test_what_an_adapter_depends_on_makes_another_model(tmp_path, name, content):
    """Other weights under the old path answer nonsense with the old adapter."""
    old, new = write_model(tmp_path / "old"), write_model(tmp_path / "new", **{name: content})

    assert read_base_model(old).sha256 != read_base_model(new).sha256


def test_a_readme_makes_no_other_model(tmp_path):
    """What neither trainer nor server reads may change."""
    old, new = write_model(tmp_path / "old"), write_model(tmp_path / "new", **{"README.md": b"x"})

    assert read_base_model(old).sha256 == read_base_model(new).sha256


def test_a_hub_name_is_looked_up_in_the_local_cache(tmp_path, monkeypatch):
    """The web app must not ask a hub at its start."""
    folder = tmp_path / "models--org--model"
    write_model(tmp_path / "files")
    (folder / "snapshots").mkdir(parents=True)
    os.rename(tmp_path / "files", folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    here = write_model(tmp_path / "here")
    assert read_base_model("org/model") == BaseModel("org/model", read_base_model(here).sha256)


@pytest.mark.parametrize("name", ["org/never-fetched", "/no/such folder/x", "base"])
def test_a_model_whose_files_are_not_here_is_known_by_name(name):
    """vLLM may run on another machine."""
    assert BaseModel(name) == read_base_model(name)
