"""Brings thumbs and corrections from a JSONL file in, as conversations of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg import Connection

from answering.plan import Planner
from core import conversations, feedback, turns
from core.audit import Action, record
from core.db import Database
from core.errors import InvalidInput
from core.jsonl import BadLine, read_jsonl
from core.settings import Settings
from core.types import CorrectionStatus, Message, Rating, TurnStatus

IMPORT_NAMESPACE = UUID("7e9b9c1c-6c0f-4f5e-8a55-2f6f0a3f9d02")
MAX_TEXT_CHARS = 20_000
FIELDS = {"question", "answer", "rating", "correction", "messages"}
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was left out, and why; lines count from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the file's lines."""

    n_imported: int
    n_known: int  # imported before, from this or another file
    n_approved: int  # corrections that are learned from since
    problems: list[RefusedLine]


@dataclass(frozen=True, slots=True)
class Line:
    """One good line."""

    number: int  # counts from 1
    key: str  # the same line has the same key
    question: str
    answer: str
    rating: Rating
    correction: str
    messages: list[Message] | None


def import_feedback(
    db: Database,
    settings: Settings,
    path: Path,
    *,
    approved: bool = False,
    actor: str = "command",
) -> ImportReport:
    """
    Store every good line of `path` in one transaction, and name each bad one.

    A line is {"question", "answer", "rating": "up"|"down", "correction"?, "messages"?}; without
    `messages` the prompt is built as the chat would build it now. Each line counts as a person
    of its own. A line imported before is not stored again.

    Corrections are proposed like a customer's; `approved` says that the team has reviewed
    them, those that were imported before included.

    Raises:
        InvalidInput: The file can't be read.
        DatabaseUnavailable: Postgres can't be reached; nothing was stored.
    """
    lines, problems = read_lines(path)
    prepared, unasked = _with_messages(db, settings, lines)
    problems = sorted([*problems, *unasked], key=lambda problem: problem.line)
    with db.connect() as conn:
        stored = [_store(conn, line, messages) for line, messages in prepared]
        n_approved = sum(_approve(conn, line) for line, _ in prepared) if approved else 0
        counts = {"imported": sum(stored), "approved": n_approved}
        record(conn, actor, Action.FEEDBACK_IMPORTED, path.name, **counts)
    return ImportReport(sum(stored), len(stored) - sum(stored), n_approved, problems)


def read_lines(path: Path) -> tuple[list[Line], list[RefusedLine]]:
    """Return the good lines and the problems of the others; blank lines are neither."""
    lines, problems = [], []
    for row in read_jsonl(path):
        if isinstance(row, BadLine):
            problems.append(RefusedLine(row.number, row.reason))
            continue
        try:
            lines.append(_parse(row.number, row.fields))
        except ValueError as exc:
            problems.append(RefusedLine(row.number, str(exc)))
    return lines, problems


def _parse(number: int, entry: dict[str, Any]) -> Line:
    if unknown := sorted(set(entry) - FIELDS):
        raise ValueError(f"unknown fields {unknown}; known are {sorted(FIELDS)}")
    question, answer = _text(entry, "question"), _text(entry, "answer")
    rating = entry.get("rating")
    if rating not in ("up", "down"):
        raise ValueError(f'rating is {json.dumps(rating)[:40]}, must be "up" or "down"')
    correction = _text(entry, "correction") if entry.get("correction") is not None else ""
    if correction and rating == "up":
        raise ValueError("a correction needs the rating down")
    messages = _messages(entry["messages"]) if entry.get("messages") is not None else None
    whole = json.dumps([question, answer, rating, correction, messages], ensure_ascii=False)
    key = hashlib.sha256(whole.encode()).hexdigest()
    return Line(number, key, question, answer, Rating(rating), correction, messages)


def _with_messages(
    db: Database, settings: Settings, lines: Sequence[Line]
) -> tuple[list[tuple[Line, list[Message]]], list[RefusedLine]]:
    """Return each line with its own messages, else with those the chat would send now."""
    prepared, problems = [], []
    planner: Planner | None = None  # takes seconds to load: only if a line needs it
    for line in lines:
        messages = line.messages
        if messages is None:
            planner = planner or Planner.of(settings, db)
            try:
                messages = planner.plan(line.question).messages
            except InvalidInput as exc:  # longer than the model takes
                problems.append(RefusedLine(line.number, str(exc)))
                continue
        prepared.append((line, messages))
    return prepared, problems


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing" if value is None else f"{name} is not a text")
    return _checked(value, name)


def _checked(value: str, name: str) -> str:
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{name} holds a character that can't be stored")
    if not value.strip():
        raise ValueError(f"{name} is empty")
    if len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"{name} has {len(value)} characters, at most {MAX_TEXT_CHARS} are taken")
    return value


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError("messages is not a list of messages")
    for message in value:
        is_message = isinstance(message, dict) and set(message) == {"role", "content"}
        if not is_message or message["role"] not in ROLES:
            raise ValueError(f"messages: each has a role of {ROLES} and a content")
        if not isinstance(message["content"], str):
            raise ValueError("messages: a content is not a text")
        _checked(message["content"], "messages")
    if value[-1]["role"] != "user":
        raise ValueError("messages must end with the user's question")
    return value


def _store(conn: Connection[Any], line: Line, messages: Sequence[Message]) -> bool:
    """Store one line as a conversation with one rated turn; False if it is there already."""
    turn_id, rater_id = _turn_id(line), uuid5(IMPORT_NAMESPACE, f"r{line.key}")
    if conn.execute("SELECT 1 FROM turns WHERE id = %s", [turn_id]).fetchone():
        return False
    title = line.question[:60]
    conversation = conversations.create_conversation(conn, rater_id, title)
    turns.start_turn(
        conn,
        turn_id=turn_id,
        conversation_id=conversation.id,
        owner_id=rater_id,
        position=0,
        question=line.question,
        messages=messages,
        passages=[],
        adapter=None,
        base_model="imported",
        prompt_version="imported",
        retrieval_ms=None,
    )
    turns.finish_turn(
        conn,
        turn_id,
        answer=line.answer,
        status=TurnStatus.COMPLETE,
        first_token_ms=None,
        total_ms=None,
        prompt_tokens=None,
        completion_tokens=None,
    )
    feedback.record_rating(conn, turn_id, rater_id, line.rating)
    if line.correction:
        feedback.add_correction(conn, turn_id, rater_id, line.correction, by_admin=False)
    return True


def _approve(conn: Connection[Any], line: Line) -> int:
    """Approve a line's correction that waits for it; one that was rejected stays so."""
    waiting = [
        correction
        for correction in feedback.corrections_of(conn, _turn_id(line))
        if correction.status is CorrectionStatus.PROPOSED
    ]
    for correction in waiting:
        feedback.decide_correction(conn, correction.id, CorrectionStatus.APPROVED)
    return len(waiting)


def _turn_id(line: Line) -> UUID:
    return uuid5(IMPORT_NAMESPACE, line.key)
