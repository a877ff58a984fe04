"""Frozen datasets: what is held out, and that nothing in them can change unnoticed."""

import hashlib
import json
from uuid import UUID, uuid5

import pytest

from core.jsonl import read_own_jsonl
from training import dataset
from training.dataset import MIN_EXAMPLES, MIN_HELDOUT, TooFewExamples, freeze, split_off_heldout
from training.examples import Example, Provenance
from training.gate.statistics import wilson_interval
from training.objectives import DPO

SPACE = UUID("00000000-0000-0000-0000-000000000002")
DATASET_ID = uuid5(SPACE, "dataset")


def example(n, *, conversation=None, question=None, good=None):
    """An example on a question and in a conversation of its own, unless told otherwise."""
    return Example(
        id=uuid5(SPACE, f"pair {n}"),
        objective="dpo",
        turn_id=uuid5(SPACE, f"turn {n}"),
        conversation_id=uuid5(SPACE, f"conversation {n if conversation is None else conversation}"),
        prompt=[{"role": "user", "content": question or f"Question {n}?"}],
        columns=DPO.columns_of(f"Bad {n}.", good or f"Good {n}. ☕"),
        raters=(uuid5(SPACE, "anna"),),
        provenance=Provenance(uuid5(SPACE, f"correction {n}"), False, "", "sha"),
    )


def conversations(examples):
    """The conversations that these examples touch."""
    return {each.conversation_id for each in examples}


def test_a_fifth_of_many_examples_is_held_out():
    """Enough to judge by, most of it to learn from."""
    train, heldout = split_off_heldout([example(n) for n in range(200)])

    assert (160, 40) == (len(train), len(heldout))


def test_few_examples_still_hold_out_as_many_as_the_gate_needs():
    """With fewer, no candidate could reach a lower bound above one half without luck."""
    train, heldout = split_off_heldout([example(n) for n in range(MIN_EXAMPLES)])

    assert (MIN_EXAMPLES - MIN_HELDOUT, MIN_HELDOUT) == (len(train), len(heldout))
    assert wilson_interval(MIN_HELDOUT - 1, MIN_HELDOUT)[0] > 0.5


def test_too_few_examples_are_refused_with_what_is_missing():
    """The customer's operator is told to collect more, not shown a bad model."""
    with pytest.raises(
        TooFewExamples, match=r"too few examples to learn from: 15 .*at least 8 and 8"
    ):
        split_off_heldout([example(n) for n in range(MIN_EXAMPLES - 1)])


def test_many_examples_on_one_question_are_too_few():
    """Nothing could be held out that was not trained on."""
    with pytest.raises(TooFewExamples):
        split_off_heldout([example(n, question="Same?") for n in range(100)])


def test_a_conversation_is_never_on_both_sides():
    """Its turns share text, so the held-out ones would be known."""
    train, heldout = split_off_heldout([example(n, conversation=n // 3) for n in range(90)])

    assert set() == conversations(train) & conversations(heldout)


def test_a_question_is_never_on_both_sides_however_it_is_written():
    """A win on a question that was trained on proves memory, not skill."""
    examples = [
        example(n, question=f"{' ' * (n % 2)}QUESTION {n // 2}?".title()) for n in range(90)
    ]
    train, heldout = split_off_heldout(examples)

    asked = [{p.prompt[-1]["content"].strip() for p in part} for part in (train, heldout)]
    assert set() == asked[0] & asked[1]


def test_the_same_examples_are_frozen_into_the_same_bytes(tmp_path):
    """A run can be repeated exactly."""
    examples = [example(n) for n in range(40)]
    first = freeze(examples, DATASET_ID, tmp_path / "a", "base")
    second = freeze(examples[::-1], DATASET_ID, tmp_path / "b", "base")

    assert first.sha256 == second.sha256
    assert (first.path / "train.jsonl").read_bytes() == (second.path / "train.jsonl").read_bytes()


def test_the_manifest_holds_the_hash_of_each_file_and_every_example(tmp_path):
    """What was trained on can be proved, and traced to the people it came from."""
    frozen = freeze([example(n) for n in range(40)], DATASET_ID, tmp_path, "base")

    manifest = json.loads((frozen.path / "manifest.json").read_text())
    for name, expected in manifest["files"].items():
        assert expected == hashlib.sha256((frozen.path / name).read_bytes()).hexdigest()
    assert {str(example(n).id) for n in range(40)} == {each["id"] for each in manifest["examples"]}
    assert "base" == manifest["base_model"]


def test_rows_have_the_columns_of_the_trainer(tmp_path):
    """TRL reads prompt, chosen and rejected as lists of messages."""
    frozen = freeze([example(n) for n in range(40)], DATASET_ID, tmp_path, "base")

    for row in read_own_jsonl(frozen.path / "train.jsonl"):
        assert {"id", "prompt", "chosen", "rejected"} == set(row)
        assert ["assistant"] == [message["role"] for message in row["chosen"]]


def test_a_freeze_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    """A full disk must not leave half a dataset that looks whole."""

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "_manifest", full_disk)
    with pytest.raises(OSError, match="No space"):
        freeze([example(n) for n in range(40)], DATASET_ID, tmp_path, "base")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_what_is_frozen_is_read_back_whatever_characters_people_type(tmp_path, character):
    """A copied text may hold a line separator; the run must not end for it."""
    examples = [example(n, good=f"One{character}two {n}.") for n in range(40)]
    frozen = freeze(examples, DATASET_ID, tmp_path, "base")

    heldout = dataset.read_heldout(frozen.path)

    assert frozen.n_heldout == len(heldout)
    assert all(character in row["chosen"][0]["content"] for row in heldout)
