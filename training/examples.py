"""What counts for learning as examples of an objective, each with its weight, raters and origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from core.learning import load_prompts, newest_dataset_ids
from core.types import Message
from training.objectives import DPO, Objective
from training.objectives.objective import Row
from training.signals import AnswerSignals, Caps, comparison, load_signals

RULES_VERSION = "2"  # goes into each dataset's manifest; raise it when a rule changes


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an example comes from."""

    correction_id: UUID
    by_admin: bool
    origin: str  # a keyed hash of the author's address; empty where that is unknown
    messages_sha256: str


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: a prompt that ends with the question, and its objective's columns."""

    id: UUID  # of the comparison: it has the same one in every dataset
    objective: str
    turn_id: UUID
    conversation_id: UUID
    prompt: list[Message]
    columns: Row
    raters: tuple[UUID, ...]  # whose word it is; ejecting one takes it out
    provenance: Provenance
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ExampleCount:
    """How many examples the feedback gives now, and how many of them no dataset has yet."""

    n_examples: int
    n_new: int  # not in the newest dataset


def load_examples(conn: Connection[Any], caps: Caps, objective: Objective = DPO) -> list[Example]:
    """Return the examples that the feedback stored now gives, ordered by id."""
    signals = load_signals(conn, caps)
    turn_ids = [each.answer.turn_id for each in signals if each.counting]
    return build_examples(signals, load_prompts(conn, turn_ids), objective)


def count_examples(conn: Connection[Any], caps: Caps) -> ExampleCount:
    """Count without reading any prompt; the clock asks every minute, and so does the desk."""
    found = {
        comparison(each.answer, each.counting).id
        for each in load_signals(conn, caps)
        if each.counting
    }
    return ExampleCount(len(found), len(found - newest_dataset_ids(conn)))


def build_examples(
    signals: Iterable[AnswerSignals],
    prompts: Mapping[UUID, list[Message]],
    objective: Objective = DPO,
) -> list[Example]:
    """Return an example for each answer with a correction that counts, ordered by id."""
    found = [
        _example(each, prompts[each.answer.turn_id], objective)
        for each in signals
        if each.counting is not None
    ]
    return sorted(found, key=lambda example: example.id)


def _example(signals: AnswerSignals, prompt: list[Message], objective: Objective) -> Example:
    answer, correction = signals.answer, signals.counting
    assert correction is not None  # whoever calls has looked
    return Example(
        id=comparison(answer, correction).id,
        objective=objective.name,
        turn_id=answer.turn_id,
        conversation_id=answer.conversation_id,
        prompt=prompt,
        columns=objective.columns_of(answer.answer, correction.body),
        raters=(correction.author_id,),
        provenance=Provenance(
            correction_id=correction.id,
            by_admin=correction.by_admin,
            origin=correction.origin,
            messages_sha256=answer.messages_sha256,
        ),
    )
