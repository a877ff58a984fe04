"""Found passages → what the model reads: repeats dropped, the parts of one section joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from core.types import Passage

SHINGLE_WORDS = 3
SAME_SHARE = 0.8  # of the shingles of two passages that say the same
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def tidy(passages: Sequence[Passage], limit: int) -> list[Passage]:
    """
    Return at most `limit` passages, best first, ranked anew; none says what a better one says.

    A section too long for one chunk was cut; parts of it that stand side by side and are both
    among the best become one passage in the order of the text, at the place of the better one.
    """
    groups: list[list[Passage]] = []
    said: list[Passage] = []
    for passage in passages:
        if any(_says_the_same(passage, better) for better in said):
            continue
        said.append(passage)
        home = next((group for group in groups if _continues(passage, group)), None)
        if home is not None and len(said) <= 2 * limit:
            home.append(passage)
        elif len(groups) < limit:
            groups.append([passage])
    return [replace(_joined(group), rank=rank) for rank, group in enumerate(groups, start=1)]


def best_first_and_last(passages: Sequence[Passage]) -> list[Passage]:
    """
    Return the passages with the best in front and the second best at the end.

    Models use the middle of a long prompt least (Liu et al. 2023, "Lost in the Middle").
    """
    if len(passages) < 3:
        return list(passages)
    return [passages[0], *passages[2:], passages[1]]


def _continues(passage: Passage, group: Sequence[Passage]) -> bool:
    """Say whether a passage stands right before or after one of a group of its own section."""
    return any(
        passage.document_id == other.document_id
        and passage.heading == other.heading
        and None not in (passage.position, other.position)
        and abs((passage.position or 0) - (other.position or 0)) == 1
        for other in group
    )


def _joined(group: Sequence[Passage]) -> Passage:
    in_order = sorted(group, key=lambda passage: passage.position or 0)
    return replace(group[0], body="\n\n".join(passage.body for passage in in_order))


def _says_the_same(passage: Passage, better: Passage) -> bool:
    """Say whether two passages differ in a few words only, none of them a number."""
    if (passage.title, passage.heading) != (better.title, better.heading):
        return False  # the same words about something else
    if NUMBER.findall(passage.body) != NUMBER.findall(better.body):
        return False
    ours, theirs = _shingles(passage.body), _shingles(better.body)
    return len(ours & theirs) >= SAME_SHARE * max(len(ours | theirs), 1)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {
        tuple(words[at : at + SHINGLE_WORDS])
        for at in range(max(1, len(words) - SHINGLE_WORDS + 1))
    }
