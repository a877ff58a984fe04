"""Freeze pairs into a folder that never changes again: two JSONL files and their manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from core.errors import TrainingError
from core.jsonl import read_own_jsonl
from core.types import PreferencePair
from training.pairs import RULES_VERSION, same_text

HELDOUT_SHARE = 0.2
# Eight wins of eight have a Wilson lower bound of 0.68, seven still 0.53: a gate on fewer pairs
# could hardly be passed by anything but luck.
MIN_HELDOUT = 8
MIN_TRAIN = 8
MIN_PAIRS = MIN_HELDOUT + MIN_TRAIN


class TooFewPairs(TrainingError):
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
    pairs: Sequence[PreferencePair], dataset_id: UUID, datasets: Path, base_model: str
) -> FrozenDataset:
    """
    Write datasets/<id>/{train,heldout}.jsonl and manifest.json, whole or not at all.

    Rows have TRL's columns (prompt, chosen, rejected as message lists) and the pair's id.
    The same pairs always give the same files.

    Raises:
        TooFewPairs: There are too few pairs to train on and to judge by.
    """
    train, heldout = split(pairs)
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


def split(
    pairs: Sequence[PreferencePair],
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """
    Return (train, heldout): about a fifth is held out, never fewer than MIN_HELDOUT.

    Pairs of one conversation stay on one side, and so do pairs of one question: what is held
    out was not trained on in any form. The order is by hash, so it depends on nothing else.

    Raises:
        TooFewPairs: No split leaves enough on both sides.
    """
    wanted = max(MIN_HELDOUT, round(HELDOUT_SHARE * len(pairs)))
    heldout: list[PreferencePair] = []
    train: list[PreferencePair] = []
    for group in sorted(_groups(pairs), key=_group_hash):
        fits = len(heldout) < wanted and len(heldout) + len(group) <= 2 * wanted
        (heldout if fits else train).extend(group)
    if len(heldout) < MIN_HELDOUT or len(train) < MIN_TRAIN:
        raise TooFewPairs(
            f"too few preference pairs: {len(pairs)} ({len(train)} to train on, {len(heldout)} "
            f"to judge by), and at least {MIN_TRAIN} and {MIN_HELDOUT} on different questions "
            "are needed; write or approve more corrections at the desk, then try again"
        )
    return sorted(train, key=_pair_key), sorted(heldout, key=_pair_key)


def read_heldout(dataset: Path) -> list[dict[str, Any]]:
    """Return the rows of heldout.jsonl."""
    return read_own_jsonl(dataset / "heldout.jsonl")


def _groups(pairs: Sequence[PreferencePair]) -> list[list[PreferencePair]]:
    """Put pairs together that share a conversation or a question, directly or through others."""
    above: dict[str, str] = {}  # union-find: each tie points towards its group's first tie

    def first(tie: str) -> str:
        while above.setdefault(tie, tie) != tie:
            above[tie] = tie = above[above[tie]]
        return tie

    for pair in pairs:
        for tie in _ties(pair):
            above[first(tie)] = first(_ties(pair)[0])
    groups: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        groups.setdefault(first(_ties(pair)[0]), []).append(pair)
    return list(groups.values())


def _ties(pair: PreferencePair) -> list[str]:
    return [f"conversation {pair.conversation_id}", f"question {_question(pair)}"]


def _question(pair: PreferencePair) -> str:
    return same_text(pair.messages[-1]["content"]).casefold()


def _group_hash(group: Sequence[PreferencePair]) -> str:
    """Hash by question: what was held out once tends to be held out again."""
    questions = min(_question(pair) for pair in group)
    return hashlib.sha256(questions.encode()).hexdigest()


def _pair_key(pair: PreferencePair) -> str:
    return hashlib.sha256(pair.id.bytes).hexdigest()


def _line(pair: PreferencePair) -> str:
    row = {
        "id": str(pair.id),
        "prompt": pair.messages,
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def _manifest(
    folder: Path,
    train: Sequence[PreferencePair],
    heldout: Sequence[PreferencePair],
    base_model: str,
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
        "kinds": {
            kind: sum(pair.kind == kind for pair in (*train, *heldout))
            for kind in sorted({pair.kind.value for pair in (*train, *heldout)})
        },
        "pairs": [
            {
                "id": str(pair.id),
                "part": part,
                "kind": pair.kind.value,
                "turn_id": str(pair.turn_id),
                "conversation_id": str(pair.conversation_id),
                "rater_id": str(pair.rater_id),
                "provenance": pair.provenance,
            }
            for part, members in (("train", train), ("heldout", heldout))
            for pair in members
        ],
    }


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
