"""Query sets from turns: questions whose right articles people have told us."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from core.citations import cited_numbers
from core.errors import InvalidInput
from core.types import HELP, Verdict
from retrieval.queries import ArticleNames, JudgedQuery

MAX_PER_PERSON = 20  # newest first; one busy or hostile customer must not become the measure
Source = Literal["good_turn", "review"]

_AROUND_A_NAME = "`'\"“”‘’()[]<>.,;:!?"


@dataclass(frozen=True, slots=True)
class JudgedTurn:
    """A finished turn somebody spoke about; articles are those that are ingested now."""

    turn_id: UUID
    owner_id: UUID
    question: str
    previous: str
    answer: str
    liked: bool
    disliked: bool
    verdict: str | None  # of the newest review
    note: str
    correction: str  # the newest approved one
    cited: dict[str, str]  # {citation number: uri}


def queries_from_turns(conn: Connection[Any], collection: str = HELP) -> list[JudgedQuery]:
    """
    Return the questions whose right articles people have told us, reviewed ones first.

    A liked answer vouches for the articles it cites, an admin's correction or the verdict
    "the answer is fine" likewise; for a retrieval miss or a knowledge gap the note names the
    article. The same question counts once, of each asker the newest 20, and ejected raters
    vouch for nothing.

    Raises:
        InvalidInput: Nobody has told us of any.
    """
    documents = conn.execute(
        "SELECT uri, title FROM documents WHERE collection = %s ORDER BY uri", (collection,)
    ).fetchall()
    names = ArticleNames(uri for uri, _ in documents)
    by_title = {title.casefold(): uri for uri, title in reversed(documents)}
    judged = [
        (turn, query)
        for turn in _judged_turns(conn, collection)
        if (query := _query_of(turn, names, by_title))
    ]
    reviewed_first = sorted(judged, key=lambda pair: pair[1].source == "good_turn")
    queries = list(_capped(_without_repeats(reviewed_first)))
    if not queries:
        raise InvalidInput(
            "no liked answer cites an article yet, and no review names one; collect some first"
        )
    return queries


def _judged_turns(conn: Connection[Any], collection: str) -> list[JudgedTurn]:
    """Return the turns with a thumb, a review or an approved correction, newest first."""
    sql = """
        SELECT t.id AS turn_id, c.owner_id, t.question, t.answer,
               coalesce(before.question, '') AS previous, thumbs.liked, thumbs.disliked,
               r.verdict, coalesce(r.note, '') AS note, coalesce(k.body, '') AS correction,
               (SELECT coalesce(jsonb_object_agg(p.rank, d.uri), '{}')
                FROM turn_passages p
                JOIN documents d ON d.uri = p.uri AND d.collection = %(collection)s
                WHERE p.turn_id = t.id) AS cited
        FROM turns t
        JOIN conversations c ON c.id = t.conversation_id AND c.deleted_at IS NULL
        CROSS JOIN LATERAL (SELECT coalesce(bool_or(rating = 'up'), false) AS liked,
                                   coalesce(bool_or(rating = 'down'), false) AS disliked
                            FROM current_feedback
                            WHERE turn_id = t.id
                              AND rater_id NOT IN (SELECT rater_id FROM ejections)) thumbs
        LEFT JOIN LATERAL (SELECT verdict, note FROM reviews WHERE turn_id = t.id
                           ORDER BY created_at DESC, id DESC LIMIT 1) r ON true
        LEFT JOIN LATERAL (SELECT body FROM corrections
                           WHERE turn_id = t.id AND status = 'approved'
                             AND author_id NOT IN (SELECT rater_id FROM ejections)
                           ORDER BY created_at DESC, id DESC LIMIT 1) k ON true
        LEFT JOIN LATERAL (SELECT question FROM turns p
                           WHERE p.conversation_id = t.conversation_id
                             AND p.superseded_at IS NULL  -- so that the index serves
                             AND p.position < t.position AND p.created_at <= t.created_at
                           ORDER BY p.position DESC LIMIT 1) before ON true
        WHERE t.status = 'complete'
          AND t.id IN (SELECT turn_id FROM feedback WHERE rating = 'up'
                       UNION SELECT turn_id FROM reviews
                       UNION SELECT turn_id FROM corrections WHERE status = 'approved')
        ORDER BY t.created_at DESC, t.id
    """
    with conn.cursor(row_factory=class_row(JudgedTurn)) as cur:
        return cur.execute(sql, {"collection": collection}).fetchall()


def _query_of(
    turn: JudgedTurn, names: ArticleNames, by_title: dict[str, str]
) -> JudgedQuery | None:
    found = _right_articles(turn, names, by_title)
    if found is None or not found[0]:
        return None
    relevant, source = frozenset(found[0]), found[1]
    turn_id = str(turn.turn_id)
    alone = JudgedQuery(turn.question, relevant, source=source, turn_id=turn_id)
    led = replace(alone, previous=turn.previous)
    # What was said before is kept only where the search needs it.
    query = alone if led.search_text == alone.search_text else led
    return query if query.search_text else None


def _right_articles(
    turn: JudgedTurn, names: ArticleNames, by_title: dict[str, str]
) -> tuple[set[str], Source] | None:
    """Return the articles that answer the turn's question and who says so."""
    if turn.verdict in (Verdict.RETRIEVAL_MISS, Verdict.KNOWLEDGE_GAP):
        return named_articles(turn.note, names, by_title), "review"
    if turn.correction:
        return _cited(turn.correction, turn.cited), "review"
    if turn.verdict == Verdict.ANSWER_FINE:
        return _cited(turn.answer, turn.cited), "review"
    if turn.verdict is None and turn.liked and not turn.disliked:
        return _cited(turn.answer, turn.cited), "good_turn"
    return None


def _cited(answer: str, uris: dict[str, str]) -> set[str]:
    by_number = {int(number): uri for number, uri in uris.items()}
    return {by_number[number] for number in cited_numbers(answer, by_number)}


def named_articles(note: str, names: ArticleNames, by_title: dict[str, str]) -> set[str]:
    """
    Return the articles that an admin's note names: by uri, by file name, or by a title.

    A title counts when it is a whole line; inside a sentence "gift cards" is just a word.
    """
    words = (word.strip(_AROUND_A_NAME) for word in note.split() if re.search(r"[./]\w", word))
    lines = (line.strip(" \t" + _AROUND_A_NAME).casefold() for line in note.splitlines())
    found = {names.uri_of(word) for word in words} | {by_title.get(line) for line in lines}
    return {uri for uri in found if uri}


def _without_repeats(
    judged: Iterable[tuple[JudgedTurn, JudgedQuery]],
) -> Iterator[tuple[JudgedTurn, JudgedQuery]]:
    seen: set[str] = set()
    for turn, query in judged:
        key = " ".join(re.findall(r"\w+", query.search_text.casefold()))
        if key not in seen:
            seen.add(key)
            yield turn, query


def _capped(judged: Iterable[tuple[JudgedTurn, JudgedQuery]]) -> Iterator[JudgedQuery]:
    n_of: Counter[UUID] = Counter()
    for turn, query in judged:
        n_of[turn.owner_id] += 1
        if n_of[turn.owner_id] <= MAX_PER_PERSON:
            yield query
