"""Builders: rows that tests start from, made through the product's own SQL functions."""

from uuid import UUID, uuid4

import gradio as gr
from starlette.requests import Request

from bot.web.people import PERSON_KEY
from core.conversations import create_conversation
from core.feedback import record_rating
from core.people import Person, Role
from core.turns import finish_turn, start_turn
from core.types import EVERYONE, Passage, Rating, TurnStatus

ANNA = UUID("00000000-0000-0000-0000-00000000000a")
BEN = UUID("00000000-0000-0000-0000-00000000000b")
ADMIN = UUID("00000000-0000-0000-0000-0000000000ad")


def make_passage(rank=1, *, body="Returns are free for 30 days.", **fields):
    """A passage that belongs to no stored chunk."""
    defaults = {
        "rank": rank,
        "chunk_id": None,
        "document_id": None,
        "uri": f"articles/{rank}.md",
        "title": f"Article {rank}",
        "heading": "Returns",
        "body": body,
        "score": 1.0 / (60 + rank),
        "similarity": 0.8,
        "dense_rank": rank,
        "text_rank": rank,
    }
    return Passage(**{**defaults, **fields})


def make_messages(question="How long may I return things?", system="Answer from the articles."):
    """The messages of a first question."""
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def make_turn(
    conn,
    *,
    owner_id=ANNA,
    conversation_id=None,
    position=0,
    question="How long may I return things?",
    answer="Within 30 days [1].",
    messages=None,
    passages=None,
    adapter=None,
    status=TurnStatus.COMPLETE,
):
    """
    A stored turn; a new conversation unless one is given.

    `status=TurnStatus.STREAMING` leaves it unfinished.
    """
    if conversation_id is None:
        conversation_id = create_conversation(conn, owner_id, question).id
    turn = start_turn(
        conn,
        turn_id=uuid4(),
        conversation_id=conversation_id,
        owner_id=owner_id,
        position=position,
        question=question,
        messages=make_messages(question) if messages is None else messages,
        passages=[make_passage()] if passages is None else passages,
        adapter=adapter,
        base_model="base",
        prompt_version="test",
        retrieval_ms=5.0,
    )
    if status is TurnStatus.STREAMING:
        return turn
    return finish_turn(
        conn,
        turn.id,
        answer=answer,
        status=status,
        first_token_ms=20.0,
        total_ms=200.0,
        prompt_tokens=50,
        completion_tokens=10,
    )


def make_rating(conn, turn=None, *, rater_id=ANNA, rating=Rating.DOWN, reasons=(), comment=""):
    """A stored thumb on `turn`, or on a new one."""
    turn = turn or make_turn(conn)
    return record_rating(conn, turn.id, rater_id, rating, reasons, comment)


def make_request(role=Role.VISITOR, *, person_id=ANNA):
    """A request as a handler is given it: of a person with a role, several, or of nobody (None)."""
    scope = {"type": "http", "headers": [], "client": ("203.0.113.7", 50_000)}
    if role is not None:
        roles = frozenset({role}) if isinstance(role, Role) else frozenset(role)
        name = "admin" if Role.ADMIN in roles else "visitor"
        scope[PERSON_KEY] = Person(person_id, name, roles, (EVERYONE,))
    return gr.Request(request=Request(scope))


def stored_articles(conn):
    """Return (title, uri) of each article that is ingested, by title."""
    return conn.execute("SELECT title, uri FROM documents ORDER BY title, uri").fetchall()
