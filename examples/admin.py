"""The simulated admin: reads what simulated customers wrote, and approves what the articles say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from answering.scoring import holds_facts
from core import feedback, turns
from core.audit import Action, record
from core.company import GoldenQuestion
from core.types import Correction, CorrectionStatus
from examples.customers import supporting_number

ADMIN = "demo admin"  # in the audit log


@dataclass(frozen=True, slots=True)
class Rated:
    """What one customer did with one answer."""

    question: GoldenQuestion
    liked: bool
    correction: Correction | None


def review(conn: Connection[Any], rated: Sequence[Rated]) -> int:
    """Play the admin: approve each correction whose facts stand in a passage that it cites."""
    corrected = [(each.question, each.correction) for each in rated if each.correction]
    shown = turns.passages_of_turns(conn, [each.turn_id for _, each in corrected])
    n_approved = 0
    for question, correction in corrected:
        texts = {passage.rank: passage.body for passage in shown.get(correction.turn_id, [])}
        if is_borne_out(correction.body, question.facts, texts):
            feedback.decide_correction(conn, correction.id, CorrectionStatus.APPROVED)
            record(conn, ADMIN, Action.CORRECTION_APPROVED, correction.id)
            n_approved += 1
    return n_approved


def is_borne_out(body: str, facts: Sequence[str], shown: Mapping[int, str]) -> bool:
    """Tell whether a correction holds the facts, and cites a shown passage that holds them."""
    return supporting_number(body, facts, shown) is not None and holds_facts(body, facts)
