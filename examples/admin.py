"""The simulated admin: reads what simulated customers wrote, and approves what the articles say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from answering.scoring import holds_facts
from core import conversations, feedback
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
    n_approved = 0
    for each in rated:
        if each.correction is not None and is_borne_out(conn, each.correction, each.question):
            feedback.decide_correction(conn, each.correction.id, CorrectionStatus.APPROVED)
            record(conn, ADMIN, Action.CORRECTION_APPROVED, each.correction.id)
            n_approved += 1
    return n_approved


def is_borne_out(conn: Connection[Any], correction: Correction, question: GoldenQuestion) -> bool:
    """Tell whether a correction holds the facts, and cites a shown passage that holds them."""
    shown = {p.rank: p.body for p in conversations.turn_passages(conn, correction.turn_id)}
    is_cited = supporting_number(correction.body, question.facts, shown) is not None
    return is_cited and holds_facts(correction.body, question.facts)
