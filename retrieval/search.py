"""Question and conversation → ranked passages, or none when nothing is relevant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from core.db import Database
from core.types import Message, Passage
from retrieval.embed import Embedder
from retrieval.load import storable_text
from retrieval.store import hybrid_search

SPARE_PASSAGES = 5  # found beyond the limit, in case some say the same
MAX_QUERY_CHARS = 2000  # the model reads 256 tokens; what stands beyond can't matter

_OPENERS = re.compile(
    r"^\W*(and|but|or|so|also|what about|how about|what if|what else|which one|how so|"
    r"for how long\?|since when\?|until when\?)(\W|$)",
    re.IGNORECASE,
)
_POINTERS = re.compile(
    r"\b(it|its|they|them|their|theirs|those|these|that|this|one|ones|same"
    r"|(?<!is )(?<!are )there)\b",
    re.IGNORECASE,
)
# "How long does it take to …": this `it` points forwards
_EMPTY_IT = re.compile(r"\bit\b.*\b(to|that|until|if|when)\b", re.IGNORECASE)
_COURTESY = re.compile(
    r"\W*((hi|hello|hey|good (morning|day|evening|night)|thanks?|thank you|thx|cheers|bye|goodbye"
    r"|ok|okay|great|perfect|cool|nice|wow|please|help|sorry|very|so|a lot|much|many|there|all"
    r"|for|your|the|and|that'?s|you)\b\W*)+",
    re.IGNORECASE,
)
SHORT_WORDS = 4  # so few words lean on what was said before: "on Sundays too?"
LONG_WORDS = 10  # so many say themselves what their "it" is


def search(
    db: Database,
    embedder: Embedder,
    question: str,
    *,
    history: Sequence[Message] = (),
    limit: int,
    min_similarity: float,
    collection: str = "help",
) -> list[Passage]:
    """
    Return at most `limit` passages, best first, ranks from 1.

    `history` is the conversation before the question; a question that leans on it ("and how
    much is it?") is searched together with the customer's previous one. The list is empty
    when the best passage's cosine is below `min_similarity`: nothing relevant.

    Raises:
        DatabaseUnavailable: Postgres can't be reached.
    """
    query = standalone_query(question, history)
    if not query:
        return []
    embedding = embedder.query(query)
    with db.connect() as conn:
        found = hybrid_search(
            conn, embedding, query, collection=collection, limit=limit + SPARE_PASSAGES
        )
    passages = _distinct(found)[:limit]
    if max((passage.similarity for passage in passages), default=-1.0) < min_similarity:
        return []
    return passages


def _distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Drop passages that say the same under the same headings, and rank the others anew."""
    first_of = {
        (passage.title, passage.heading, " ".join(passage.body.lower().split())): passage
        for passage in reversed(passages)
    }
    kept = sorted(first_of.values(), key=lambda passage: passage.rank)
    return [replace(passage, rank=rank) for rank, passage in enumerate(kept, start=1)]


def standalone_query(question: str, history: Sequence[Message]) -> str:
    """
    Return what to search for: the question, led by the previous one when it leans on it.

    >>> standalone_query("And how much is it?", [{"role": "user", "content": "Do you ship?"}])
    'Do you ship? And how much is it?'
    >>> standalone_query("How do I clean a carbon steel pan?", [])
    'How do I clean a carbon steel pan?'
    """
    clean = " ".join(storable_text(question[:MAX_QUERY_CHARS]).split())
    asked = [message["content"] for message in history if message["role"] == "user"]
    if not clean or not asked or not _leans_on_history(clean):
        return clean
    previous = " ".join(storable_text(asked[-1][:MAX_QUERY_CHARS]).split())
    return f"{previous} {clean}".strip()


def _leans_on_history(question: str) -> bool:
    n_words = len(question.split())
    if _COURTESY.fullmatch(question):
        return False  # "Thanks!" asks nothing more about what was asked before
    if n_words <= SHORT_WORDS or _OPENERS.search(question):
        return True
    says_itself = n_words >= LONG_WORDS or re.search(r"[.!?]\s+\w", question)
    points_back = _POINTERS.search(_EMPTY_IT.sub("", question))
    return bool(points_back and not says_itself)
