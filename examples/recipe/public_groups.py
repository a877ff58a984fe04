"""Training groups from public chunks: passages like those retrieval finds, and questions."""

from __future__ import annotations

import random
from collections.abc import Iterator

from . import names
from .guidelines import random_guidelines
from .prompts import Exchange, Group, Quote, ShownPassage
from .public import PublicChunk, PublicQuestion, overlap
from .styles import Habits, answered, casual, longer_quote, past_exchange, sorry

MAIN_POINT_SHARE = 0.75  # of the passages begin with the sentence that is asked about


def public_group(
    documents: list[list[PublicChunk]], rng: random.Random, max_passages: int, habits: Habits
) -> Group:
    """Return a chunk with questions, like chunks beside it, and conversations about them."""
    chunks = rng.choice(documents)
    main = rng.choice([c for c in chunks if c.asked] or chunks)
    if rng.random() < MAIN_POINT_SHARE:
        main = _from_its_point(main, rng)
    n_others = min(max_passages, rng.choices((1, 2, 3), (2, 3, 6))[0]) - 1
    ranked = [main, *_negatives(main, chunks, documents, rng, n_others)]
    if rng.random() < 0.12:
        rng.shuffle(ranked)
    passages = tuple(ShownPassage(c.title, c.heading, c.text) for c in ranked)
    talks: list[tuple[Exchange, ...]]
    talks = [(e,) for e in _exchanges(ranked, main, passages, habits, rng)]
    asked_elsewhere = _stranger(main, ranked, chunks, documents, rng)
    if asked_elsewhere and rng.random() < 0.6:
        talks.append((sorry(casual(asked_elsewhere, rng)),))
    talks = [_with_past(talk, ranked, chunks, habits, rng) for talk in talks]
    rng.shuffle(talks)
    return Group(random_guidelines(names.company_name(rng), rng), passages, tuple(talks[:8]))


def _stranger(
    main: PublicChunk,
    ranked: list[PublicChunk],
    near: list[PublicChunk],
    documents: list[list[PublicChunk]],
    rng: random.Random,
) -> str | None:
    """Return a question no passage answers; half the time the nearest of the same document."""
    pool = [c for c in near if c not in ranked and c.text not in main.text and c.asked]
    if pool and rng.random() < 0.5:
        asked = [rng.choice(c.asked).question for c in rng.sample(pool, min(len(pool), 8))]
        return max(asked, key=lambda question: overlap(question, main.text))
    other = rng.choice(rng.choice(documents))
    return rng.choice(other.asked).question if other.asked and other not in ranked else None


def _with_past(
    talk: tuple[Exchange, ...],
    ranked: list[PublicChunk],
    near: list[PublicChunk],
    habits: Habits,
    rng: random.Random,
) -> tuple[Exchange, ...]:
    """Return the talk, at times after an exchange on an article that is no longer shown."""
    pool = [c for c in near if c not in ranked and c.asked]
    if not pool or habits.past < rng.random():
        return talk
    chunk = rng.choice(pool)
    asked = rng.choice(chunk.asked)
    whole = f"{chunk.text if len(chunk.text) < 300 else chunk.sentences[0]} [1]"
    return (past_exchange(asked.question, whole, rng), *talk)


def _from_its_point(chunk: PublicChunk, rng: random.Random) -> PublicChunk:
    """Return the chunk from a sentence on that answers something."""
    points = sorted({a.sentence for a in chunk.asked if a.sentence is not None})
    if not points:
        return chunk
    first = rng.choice(points)
    later = [
        PublicQuestion(a.question, a.sentence - first)
        for a in chunk.asked
        if a.sentence is not None and a.sentence >= first
    ]
    # Mostly the first sentence is asked about, but not always.
    asked = [a for a in later if a.sentence == 0 or rng.random() < 0.3]
    refused = [a for a in chunk.asked if a.sentence is None]
    return PublicChunk(chunk.title, chunk.heading, chunk.sentences[first:], asked + refused)


def _negatives(
    main: PublicChunk,
    near: list[PublicChunk],
    documents: list[list[PublicChunk]],
    rng: random.Random,
    n: int,
) -> list[PublicChunk]:
    """Return n other chunks, of the same document or with words in common with a question."""
    if n == 0:
        return []
    words = " ".join(a.question for a in main.asked[:2]) or main.text
    pool = [c for c in near if c.text != main.text and main.text not in c.text]
    pool = rng.sample(pool, min(len(pool), 12))
    pool += [rng.choice(rng.choice(documents)) for _ in range(12)]
    pool = [c for c in pool if c is not main and c.text != main.text]
    pool.sort(key=lambda c: -overlap(words, f"{c.title} {c.text}") + 0.3 * rng.random())
    return pool[:n]


def _exchanges(
    ranked: list[PublicChunk],
    main: PublicChunk,
    passages: tuple[ShownPassage, ...],
    habits: Habits,
    rng: random.Random,
) -> Iterator[Exchange]:
    for place, chunk in enumerate(ranked):
        asked = [a for a in chunk.asked if a.sentence is not None]
        refused = [a for a in chunk.asked if a.sentence is None]
        take = 6 if chunk is main else rng.choices((0, 1), (6, 1))[0]
        for item in rng.sample(asked, min(len(asked), take)):
            assert item.sentence is not None
            spans = [Quote(place, *chunk.span(n)) for n in range(len(chunk.sentences))]
            longer = longer_quote(passages[place], spans, item.sentence)
            question = casual(item.question, rng)
            yield answered(question, spans[item.sentence], longer, habits, rng)
        if chunk is main and refused and rng.random() < 0.35:
            yield sorry(casual(rng.choice(refused).question, rng))
