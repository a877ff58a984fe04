"""SQL: turns and the passages that the model saw in each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row, dict_row, kwargs_row
from psycopg.types.json import Jsonb

from core.conversations import require_found
from core.errors import TurnNotFound
from core.types import Message, Passage, Turn, TurnStatus


def load_turns(conn: Connection[Any], conversation_id: UUID, owner_id: UUID) -> list[Turn]:
    """
    Return a conversation's current turns in order, without their prompts.

    Superseded turns are left out.

    Raises:
        NotFound: No such conversation, or it is somebody else's.
    """
    sql = """
        SELECT t.id, t.conversation_id, t.position, t.question, t.answer, t.status, t.adapter,
               t.base_model, t.prompt_version, t.retrieval_ms, t.first_token_ms,
               t.total_ms, t.prompt_tokens, t.completion_tokens, t.created_at, t.superseded_at
        FROM turns t
        WHERE t.conversation_id = %(id)s AND t.superseded_at IS NULL
        ORDER BY t.position
    """
    owned = """
        SELECT 1 FROM conversations
        WHERE id = %(id)s AND owner_id = %(owner_id)s AND deleted_at IS NULL
    """
    params = {"id": conversation_id, "owner_id": owner_id}
    require_found(conn.execute(owned, params).rowcount, conversation_id)
    with conn.cursor(row_factory=kwargs_row(turn_from_row)) as cur:
        return cur.execute(sql, params).fetchall()


def start_turn(
    conn: Connection[Any],
    *,
    turn_id: UUID,
    conversation_id: UUID,
    owner_id: UUID,
    position: int,
    question: str,
    messages: Sequence[Message],
    passages: Sequence[Passage],
    adapter: str | None,
    base_model: str,
    prompt_version: str,
    retrieval_ms: float | None,
) -> Turn:
    """
    Insert a turn as 'streaming' with its passages; supersede current turns at and after it.

    Returns the turn without its prompt, which the caller has. The conversation's row is locked
    first, so two windows writing at once take turns. The caller owns the transaction.

    Raises:
        NotFound: No such conversation, or it is somebody else's.
    """
    touch = """
        UPDATE conversations SET updated_at = clock_timestamp()
        WHERE id = %(conversation_id)s AND owner_id = %(owner_id)s AND deleted_at IS NULL
    """
    supersede = """
        UPDATE turns SET superseded_at = clock_timestamp()
        WHERE conversation_id = %(conversation_id)s AND position >= %(position)s
          AND superseded_at IS NULL
    """
    insert = """
        INSERT INTO turns (id, conversation_id, position, question, messages, adapter,
                           base_model, prompt_version, retrieval_ms)
        VALUES (%(id)s, %(conversation_id)s, %(position)s, %(question)s, %(messages)s,
                %(adapter)s, %(base_model)s, %(prompt_version)s, %(retrieval_ms)s)
        RETURNING id, conversation_id, position, question, answer, status, adapter, base_model,
                  prompt_version, retrieval_ms, first_token_ms, total_ms, prompt_tokens,
                  completion_tokens, created_at, superseded_at
    """
    params = {
        "id": turn_id,
        "conversation_id": conversation_id,
        "owner_id": owner_id,
        "position": position,
        "question": question,
        "messages": Jsonb(list(messages)),
        "adapter": adapter,
        "base_model": base_model,
        "prompt_version": prompt_version,
        "retrieval_ms": retrieval_ms,
    }
    require_found(conn.execute(touch, params).rowcount, conversation_id)
    conn.execute(supersede, params)
    with conn.cursor(row_factory=kwargs_row(turn_from_row)) as cur:
        row = cur.execute(insert, params).fetchone()
    assert row is not None
    _insert_passages(conn, turn_id, passages)
    return row


def _insert_passages(conn: Connection[Any], turn_id: UUID, passages: Sequence[Passage]) -> None:
    # The article may have been replaced since the search: then the ids are null and the
    # text the model saw is kept all the same.
    sql = """
        INSERT INTO turn_passages (turn_id, rank, chunk_id, document_id, uri, title, heading,
                                   body, score, similarity, dense_rank, text_rank)
        VALUES (%s, %s, (SELECT id FROM chunks WHERE id = %s FOR KEY SHARE),
                (SELECT id FROM documents WHERE id = %s FOR KEY SHARE),
                %s, %s, %s, %s, %s, %s, %s, %s)
    """
    source = attrgetter("rank", "chunk_id", "document_id", "uri", "title", "heading", "body")
    found = attrgetter("score", "similarity", "dense_rank", "text_rank")
    with conn.cursor() as cur:
        cur.executemany(sql, [(turn_id, *source(p), *found(p)) for p in passages])


def reassign_turn(conn: Connection[Any], turn_id: UUID, adapter: str | None) -> None:
    """Note that another adapter answers a turn that has not finished."""
    sql = "UPDATE turns SET adapter = %(adapter)s WHERE id = %(id)s AND status = 'streaming'"
    conn.execute(sql, {"id": turn_id, "adapter": adapter})


def finish_turn(
    conn: Connection[Any],
    turn_id: UUID,
    *,
    answer: str,
    status: TurnStatus,
    first_token_ms: float | None,
    total_ms: float | None,
    prompt_tokens: int | None,
    completion_tokens: int | None,
) -> Turn:
    """
    Store how a streaming turn ended and return it; one that had ended already is left alone.

    Raises:
        TurnNotFound: No turn has this id.
    """
    sql = """
        UPDATE turns
        SET answer = %(answer)s, status = %(status)s, first_token_ms = %(first_token_ms)s,
            total_ms = %(total_ms)s, prompt_tokens = %(prompt_tokens)s,
            completion_tokens = %(completion_tokens)s
        WHERE id = %(id)s AND status = 'streaming'
        RETURNING *
    """
    params = {
        "id": turn_id,
        "answer": answer,
        "status": status,
        "first_token_ms": first_token_ms,
        "total_ms": total_ms,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
    }
    with conn.cursor(row_factory=kwargs_row(turn_from_row)) as cur:
        row = cur.execute(sql, params).fetchone()
    return row or get_turn(conn, turn_id)


def get_turn(conn: Connection[Any], turn_id: UUID) -> Turn:
    """
    Return one turn, superseded or not; who may see it is the caller's to check.

    Raises:
        TurnNotFound: No turn has this id.
    """
    sql = """
        SELECT id, conversation_id, position, question, messages, answer, status, adapter,
               base_model, prompt_version, retrieval_ms, first_token_ms, total_ms,
               prompt_tokens, completion_tokens, created_at, superseded_at
        FROM turns WHERE id = %s
    """
    with conn.cursor(row_factory=kwargs_row(turn_from_row)) as cur:
        row = cur.execute(sql, (turn_id,)).fetchone()
    if row is None:
        raise TurnNotFound(f"no turn {turn_id}")
    return row


def turn_passages(conn: Connection[Any], turn_id: UUID) -> list[Passage]:
    """Return what the model saw in this turn, best first; empty when nothing was relevant."""
    sql = """
        SELECT rank, chunk_id, document_id, uri, title, heading, body, score, similarity,
               dense_rank, text_rank
        FROM turn_passages WHERE turn_id = %s ORDER BY rank
    """
    with conn.cursor(row_factory=class_row(Passage)) as cur:
        return cur.execute(sql, (turn_id,)).fetchall()


def passages_of_turns(conn: Connection[Any], turn_ids: Sequence[UUID]) -> dict[UUID, list[Passage]]:
    """Return what the model saw in each of these turns, best first, in one query."""
    sql = """
        SELECT turn_id, rank, chunk_id, document_id, uri, title, heading, body, score, similarity,
               dense_rank, text_rank
        FROM turn_passages WHERE turn_id = ANY(%s) ORDER BY turn_id, rank
    """
    found: dict[UUID, list[Passage]] = {}
    with conn.cursor(row_factory=dict_row) as cur:
        for row in cur.execute(sql, (list(turn_ids),)):
            found.setdefault(row.pop("turn_id"), []).append(Passage(**row))
    return found


def turn_owner(conn: Connection[Any], turn_id: UUID) -> UUID:
    """
    Return whose question this turn is.

    Raises:
        TurnNotFound: No turn has this id, or its conversation was deleted.
    """
    sql = """
        SELECT c.owner_id FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE t.id = %s AND c.deleted_at IS NULL
    """
    row = conn.execute(sql, (turn_id,)).fetchone()
    if row is None:
        raise TurnNotFound(f"no turn {turn_id}")
    owner: UUID = row[0]
    return owner


def questions_of(conn: Connection[Any], turn_ids: Collection[str]) -> dict[str, str]:
    """Return {turn id: question} of the turns whose conversation still exists."""
    sql = """
        SELECT t.id::text, t.question
        FROM turns t JOIN conversations c ON c.id = t.conversation_id AND c.deleted_at IS NULL
        WHERE t.id = ANY(%s::uuid[])
    """
    return dict(conn.execute(sql, (list(turn_ids),)).fetchall())


def fail_stale_turns(conn: Connection[Any], older_than_s: float) -> int:
    """Mark turns as failed that have been streaming longer than any answer may; return how many."""
    sql = """
        UPDATE turns SET status = 'failed'
        WHERE status = 'streaming' AND created_at < now() - make_interval(secs => %s)
    """
    return conn.execute(sql, (older_than_s,)).rowcount


def count_streaming(conn: Connection[Any], owner_id: UUID, within_s: float) -> int:
    """
    Return how many answers are being written for an owner, in all web processes together.

    One that began longer ago than any answer takes was left by a killed process.
    """
    sql = """
        SELECT count(*) FROM turns t JOIN conversations c ON c.id = t.conversation_id
        WHERE t.status = 'streaming' AND c.owner_id = %s
          AND t.created_at > now() - make_interval(secs => %s)
    """
    row = conn.execute(sql, (owner_id, within_s)).fetchone()
    assert row is not None  # an aggregate always yields one row
    return int(row[0])


def streaming_adapters(conn: Connection[Any]) -> set[str]:
    """Return the adapters that are writing an answer now; these must not be unloaded."""
    sql = """
        SELECT DISTINCT adapter FROM turns WHERE status = 'streaming' AND adapter IS NOT NULL
    """
    return {row[0] for row in conn.execute(sql)}


def count_turns(conn: Connection[Any]) -> dict[TurnStatus, int]:
    """Return how many turns there are in each status, zeros included."""
    found = dict(conn.execute("SELECT status, count(*) FROM turns GROUP BY status").fetchall())
    return {status: found.get(status.value, 0) for status in TurnStatus}


def turn_from_row(**columns: Any) -> Turn:
    """Build a turn from its row; columns the turn has no field for are dropped."""
    columns.pop("messages_sha256", None)
    return Turn(**{**columns, "status": TurnStatus(columns["status"])})
