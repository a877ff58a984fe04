"""Question and conversation → ranked passages, their evidence, and whether they are relevant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.db import Database
from core.types import Message, Passage
from retrieval.context import tidy
from retrieval.embed import Embedder, TokenVectors
from retrieval.hybrid import hybrid_search, word_rarities
from retrieval.load import storable_text
from retrieval.options import Scope, SearchOptions
from retrieval.rerank import N_RERANKED, get_reranker

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
class Candidates:
    """All that a search looked at: the fused order, and the order after reading again."""

    fused: list[Passage]
    ranked: list[Passage]  # `fused` where nothing was read again
    scores: list[float]  # in [-1, 1], of the first of `ranked`: of those read again


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, with its evidence; show it only if it is `relevant`."""

    passages: list[Passage]  # best first, ranks from 1; cosine and ranks per leg stand in each
    scores: list[float | None]  # of each passage; None where it was not read again
    relevant: bool  # the best passages reach the threshold of the options
    why: str  # one line: what was reached and what is needed, or why there is nothing


def search(
    db: Database,
    embedder: Embedder,
    question: str,
    options: SearchOptions,
    scope: Scope,
    *,
    history: Sequence[Message] = (),
) -> Found:
    """
    Search the scope for a question and return at most `options.limit` passages, best first.

    `history` is the conversation before the question; a question that leans on it ("and how
    much is it?") is searched together with the customer's previous one.

    Raises:
        DatabaseUnavailable: Postgres can't be reached.
    """
    query = standalone_query(question, history)
    if not query:
        return Found([], [], relevant=False, why="the message holds no words to search for")
    [asked] = embedder.token_vectors([query])
    limit = max(options.limit, N_RERANKED) + SPARE_PASSAGES
    found = find_candidates(db, embedder, query, asked, options, scope, limit=limit)
    relevant, why = _relevance(found, options, scope)
    passages = tidy(found.ranked, options.limit)
    read = zip(found.ranked, found.scores, strict=False)
    score_of = {passage.chunk_id: score for passage, score in read}
    return Found(passages, [score_of.get(each.chunk_id) for each in passages], relevant, why)


def find_candidates(
    db: Database,
    embedder: Embedder,
    query: str,
    asked: TokenVectors,
    options: SearchOptions,
    scope: Scope,
    *,
    limit: int | None = None,
) -> Candidates:
    """
    Find the `limit` best chunks for a query, or all candidates, and read the best ones again.

    `asked` is the query as the model reads it; repeats are still among what is found.
    """
    rarity: dict[str, float] = {}
    with db.connect() as conn:
        fused = hybrid_search(conn, asked.vector, query, options, scope, limit=limit)
        if options.rerank_ms:
            rarity = word_rarities(conn, [word for word in asked.words if word])
    if not rarity:
        return Candidates(fused, fused, [])
    reranker = get_reranker(embedder)
    ranked, scores = reranker.rerank(asked, rarity, fused, budget_ms=options.rerank_ms)
    return Candidates(fused, ranked, scores)


def _relevance(found: Candidates, options: SearchOptions, scope: Scope) -> tuple[bool, str]:
    """Return whether the best of what was found reaches the threshold, and say so in a line."""
    if not found.ranked:  # any chunk is some candidate: there is none at all
        where, whom = " or ".join(scope.collections), " or ".join(scope.audiences)
        return False, f"no article in {where} is for {whom}"
    best = max(passage.similarity for passage in found.ranked)
    needed = options.min_similarity
    if found.scores:
        best, needed = (best + max(found.scores)) / 2, options.min_relevance
    return best >= needed, f"the best passage has {best:.2f}; {needed:.2f} is needed"


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
