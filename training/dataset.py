"""Freeze examples into a folder that never changes: two JSONL files and their manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from core.errors import TrainingError
from core.jsonl import read_own_jsonl
from training.examples import RULES_VERSION, Example
from training.objectives.objective import Row
from training.signals import same_text

HELDOUT_SHARE = 0.2
# Eight wins of eight have a Wilson lower bound of 0.68, seven still 0.53: a gate on fewer
# examples could hardly be passed by anything but luck.
MIN_HELDOUT = 8
MIN_TRAIN = 8
MIN_EXAMPLES = MIN_HELDOUT + MIN_TRAIN


class TooFewExamples(TrainingError):
    """There is not enough to train on and to judge by."""


@dataclass(frozen=True, slots=True)
class FrozenDataset:
    """Where a dataset lies and what it holds; `sha256` is over the manifest."""

    id: UUID
    path: Path
    sha256: str
    n_train: int
    n_heldout: int
    manifest: dict[str, Any]


def freeze(
    examples: Sequence[Example], dataset_id: UUID, datasets: Path, base_model: str
) -> FrozenDataset:
    """
    Write datasets/<id>/{train,heldout}.jsonl and manifest.json, whole or not at all.

    Rows have the example's id, its prompt, and its objective's columns. The same examples
    always give the same files.

    Raises:
        TooFewExamples: There are too few to train on and to judge by.
    """
    train, heldout = split_off_heldout(examples)
    datasets.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = datasets / f".{dataset_id}.{os.getpid()}"
    draft.mkdir(mode=0o700)
    try:
        _write(draft / "train.jsonl", "".join(map(_line, train)))
        _write(draft / "heldout.jsonl", "".join(map(_line, heldout)))
        manifest = _manifest(draft, train, heldout, base_model)
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        _write(draft / "manifest.json", text)
        draft.rename(datasets / str(dataset_id))
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already when all went well
    return FrozenDataset(
        id=dataset_id,
        path=datasets / str(dataset_id),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        n_train=len(train),
        n_heldout=len(heldout),
        manifest=manifest,
    )


def split_off_heldout(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """
    Return (train, heldout): about a fifth is held out, never fewer than MIN_HELDOUT.

    Examples of one conversation stay on one side, and so do those of one question: what is
    held out was not trained on in any form. The order is by hash, so it depends on nothing else.

    Raises:
        TooFewExamples: No split leaves enough on both sides.
    """
    wanted = max(MIN_HELDOUT, round(HELDOUT_SHARE * len(examples)))
    heldout: list[Example] = []
    train: list[Example] = []
    for group in sorted(_groups(examples), key=_group_hash):
        fits = len(heldout) < wanted and len(heldout) + len(group) <= 2 * wanted
        (heldout if fits else train).extend(group)
    if len(heldout) < MIN_HELDOUT or len(train) < MIN_TRAIN:
        raise TooFewExamples(
            f"too few examples to learn from: {len(examples)} ({len(train)} to train on, "
            f"{len(heldout)} to judge by), and at least {MIN_TRAIN} and {MIN_HELDOUT} on "
            "different questions are needed; write or approve more corrections at the desk, "
            "then try again"
        )
    return sorted(train, key=_order), sorted(heldout, key=_order)


def read_heldout(dataset: Path) -> Sequence[Row]:
    """Return the rows of heldout.jsonl."""
    return read_own_jsonl(dataset / "heldout.jsonl")


def _groups(examples: Sequence[Example]) -> list[list[Example]]:
    """Put examples together that share a conversation or a question, directly or through others."""
    above: dict[str, str] = {}  # union-find: each tie points towards its group's first tie

    def first(tie: str) -> str:
        while above.setdefault(tie, tie) != tie:
            above[tie] = tie = above[above[tie]]
        return tie

    for example in examples:
        for tie in _ties(example):
            above[first(tie)] = first(_ties(example)[0])
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(first(_ties(example)[0]), []).append(example)
    return list(groups.values())


def _ties(example: Example) -> list[str]:
    return [f"conversation {example.conversation_id}", f"question {_question(example)}"]


def _question(example: Example) -> str:
    return same_text(example.prompt[-1]["content"]).casefold()


def _group_hash(group: Sequence[Example]) -> str:
    """Hash by question: what was held out once tends to be held out again."""
    questions = min(_question(example) for example in group)
    return hashlib.sha256(questions.encode()).hexdigest()


def _order(example: Example) -> str:
    return hashlib.sha256(example.id.bytes).hexdigest()


def _line(example: Example) -> str:
    row = {"id": str(example.id), "prompt": example.prompt, **example.columns}
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def _manifest(
    folder: Path, train: Sequence[Example], heldout: Sequence[Example], base_model: str
) -> dict[str, Any]:
    return {
        "rules_version": RULES_VERSION,
        "base_model": base_model,
        "files": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("train.jsonl", "heldout.jsonl")
        },
        "n_train": len(train),
        "n_heldout": len(heldout),
        "examples": [
            _entry(example, part)
            for part, members in (("train", train), ("heldout", heldout))
            for example in members
        ],
    }


def _entry(example: Example, part: str) -> dict[str, Any]:
    """Return an example as the manifest names it: all but its texts, which the rows have."""
    provenance = example.provenance
    return {
        "id": str(example.id),
        "part": part,
        "objective": example.objective,
        "weight": example.weight,
        "raters": [str(rater) for rater in example.raters],
        "turn_id": str(example.turn_id),
        "conversation_id": str(example.conversation_id),
        "provenance": {**asdict(provenance), "correction_id": str(provenance.correction_id)},
    }


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
