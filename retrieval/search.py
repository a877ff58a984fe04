"""Question and conversation → ranked passages, or none when nothing is relevant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.db import Database
from core.settings import Settings
from core.types import Message, Passage
from retrieval.context import tidy
from retrieval.embed import Embedder
from retrieval.hybrid import hybrid_search, word_rarities
from retrieval.load import storable_text
from retrieval.rerank import N_RERANKED, get_reranker
from retrieval.store import EVERYONE

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


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search looks through, how much it returns, and when it returns nothing."""

    limit: int
    collection: str = "help"
    audiences: tuple[str, ...] = (EVERYONE,)
    min_similarity: float = -1.0  # cosine of the best passage; reads the order without rerank
    min_relevance: float = -1.0  # mean of that cosine and the best rerank score
    rerank_ms: float = 0.0  # how long passages may be read again for a better order; 0 is never

    @classmethod
    def of(cls, settings: Settings) -> SearchOptions:
        """Return the options of the product's chat."""
        return cls(
            limit=settings.n_passages,
            audiences=tuple({EVERYONE, settings.audience}),
            min_similarity=settings.min_similarity,
            min_relevance=settings.min_relevance,
            rerank_ms=settings.rerank_ms,
        )


def search(
    db: Database,
    embedder: Embedder,
    question: str,
    options: SearchOptions,
    *,
    history: Sequence[Message] = (),
) -> list[Passage]:
    """
    Return at most `options.limit` passages, best first, ranks from 1.

    `history` is the conversation before the question; a question that leans on it ("and how
    much is it?") is searched together with the customer's previous one. The list is empty
    when even the best passage has too little to do with the question.

    Raises:
        DatabaseUnavailable: Postgres can't be reached.
    """
    query = standalone_query(question, history)
    if not query:
        return []
    [asked] = embedder.token_vectors([query])
    rarity: dict[str, float] = {}
    with db.connect() as conn:
        found = hybrid_search(
            conn,
            asked.vector,
            query,
            collection=options.collection,
            audiences=options.audiences,
            limit=max(options.limit, N_RERANKED) + SPARE_PASSAGES,
        )
        if options.rerank_ms:
            rarity = word_rarities(conn, [word for word in asked.words if word])
    scores: list[float] = []
    if rarity:
        found, scores = get_reranker(embedder).rerank(
            asked, rarity, found, budget_ms=options.rerank_ms
        )
    return tidy(found, options.limit) if _is_relevant(found, scores, options) else []


def _is_relevant(
    passages: Sequence[Passage], scores: Sequence[float], options: SearchOptions
) -> bool:
    if not passages:
        return False
    similarity = max(passage.similarity for passage in passages)
    if scores:
        return (similarity + max(scores)) / 2 >= options.min_relevance
    return similarity >= options.min_similarity


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
