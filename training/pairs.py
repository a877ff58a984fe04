"""Turn thumbs and corrections into honest preference pairs; pure, one function per rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, product
from uuid import UUID, uuid5

from core.learning import FeedbackRow
from core.types import Correction, CorrectionStatus, PairKind, PreferencePair

RULES_VERSION = "1"  # goes into each dataset's manifest; raise it when a rule changes
PAIR_NAMESPACE = UUID("5a0c6f5e-3b52-4c3e-9a86-0c6a1f2f7d11")
MAX_ANSWER_CHARS = 2000  # about 500 tokens; longer answers would push prompts out of the context
WHITE_SPACE = re.compile(r"\s+")


def build_pairs(rows: Sequence[FeedbackRow], max_pairs_per_rater: int) -> list[PreferencePair]:
    """
    Return the pairs that this feedback honestly supports, ordered by id.

    A pair compares two answers to the very same messages: a correction over the answer it
    corrects, or a liked answer over a disliked one. The same pair found twice counts once,
    pairs that contradict each other are dropped, and of each rater only the newest
    `max_pairs_per_rater` remain. The same feedback in any order gives the same pairs.
    """
    newest_first = sorted(rows, key=lambda row: (row.created_at, row.turn_id), reverse=True)
    found = [*correction_pairs(newest_first), *liked_over_disliked_pairs(newest_first)]
    sound = without_contradictions(without_duplicates(filter(is_trainable, found)))
    return sorted(cap_per_rater(sound, max_pairs_per_rater), key=lambda pair: pair.id)


def correction_pairs(rows: Iterable[FeedbackRow]) -> list[PreferencePair]:
    """Prefer what an answer should have said over what it said."""
    return [
        _pair(
            PairKind.CORRECTION,
            row,
            raters=[correction.author_id],
            chosen=correction.body,
            rejected=row.answer,
            provenance={
                "correction_id": str(correction.id),
                "by_admin": correction.by_admin,
                "status": correction.status.value,
            },
        )
        for row in rows
        for correction in _counting_corrections(row)
    ]


def _counting_corrections(row: FeedbackRow) -> Sequence[Correction]:
    """Take the newest approved correction; else, if somebody disliked the answer, all proposed."""
    standing = [c for c in row.corrections if c.status is not CorrectionStatus.REJECTED]
    approved = [c for c in standing if c.by_admin or c.status is CorrectionStatus.APPROVED]
    if approved:
        return [max(approved, key=lambda c: (c.created_at, c.id))]
    return standing if row.disliked_by else []


def liked_over_disliked_pairs(rows: Iterable[FeedbackRow]) -> list[PreferencePair]:
    """
    Prefer each liked answer over each disliked one to the same messages.

    An answer that one person liked and another disliked says nothing and is left out.
    """
    by_messages = sorted(rows, key=lambda row: row.messages_sha256)
    found = []
    for _, group in groupby(by_messages, key=lambda row: row.messages_sha256):
        answers = list(group)
        liked = [row for row in answers if row.liked_by and not row.disliked_by]
        disliked = [row for row in answers if row.disliked_by and not row.liked_by]
        found += [_liked_over_disliked(good, bad) for good, bad in product(liked, disliked)]
    return found


def _liked_over_disliked(good: FeedbackRow, bad: FeedbackRow) -> PreferencePair:
    return _pair(
        PairKind.LIKED_OVER_DISLIKED,
        bad,
        raters=[*good.liked_by[:1], *bad.disliked_by[:1]],
        chosen=good.answer,
        rejected=bad.answer,
        provenance={
            "liked_turn_id": str(good.turn_id),
            "liked_conversation_id": str(good.conversation_id),
        },
    )


def is_trainable(pair: PreferencePair) -> bool:
    """Tell whether both answers say something, say it at bearable length, and differ."""
    chosen, rejected = same_text(pair.chosen), same_text(pair.rejected)
    return 0 < len(chosen) <= MAX_ANSWER_CHARS and len(rejected) > 0 and chosen != rejected


def without_duplicates(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """Keep the first of pairs with the same messages, chosen and rejected answer."""
    first: dict[UUID, PreferencePair] = {}
    for pair in pairs:
        first.setdefault(pair.id, pair)
    return list(first.values())


def without_contradictions(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """Drop both of two pairs that prefer the same two answers the other way round."""
    ids = {pair.id for pair in pairs}
    return [pair for pair in pairs if _mirrored_id(pair) not in ids]


def cap_per_rater(pairs: Iterable[PreferencePair], max_pairs: int) -> list[PreferencePair]:
    """
    Keep the first `max_pairs` pairs of each person; a pair of two persons counts for both.

    A few poisoned pairs in a hundred can steer DPO (docs/sources.md), so nobody gets many.
    """
    n_pairs: Counter[str] = Counter()
    kept = []
    for pair in pairs:
        raters = set(pair.provenance["raters"])
        if all(n_pairs[rater] < max_pairs for rater in raters):
            n_pairs.update(raters)
            kept.append(pair)
    return kept


def same_text(text: str) -> str:
    """Return a text as it is compared: without outer and doubled white space."""
    return WHITE_SPACE.sub(" ", text).strip()


def _pair(
    kind: PairKind,
    row: FeedbackRow,
    *,
    raters: Sequence[UUID],
    chosen: str,
    rejected: str,
    provenance: dict[str, object],
) -> PreferencePair:
    return PreferencePair(
        id=_pair_id(row.messages_sha256, chosen, rejected),
        kind=kind,
        turn_id=row.turn_id,
        conversation_id=row.conversation_id,
        rater_id=raters[0],
        messages=row.messages,
        chosen=chosen.strip(),
        rejected=rejected.strip(),
        provenance={
            **provenance,
            "messages_sha256": row.messages_sha256,
            "raters": [str(rater) for rater in raters],
        },
    )


def _pair_id(messages_sha256: str, chosen: str, rejected: str) -> UUID:
    """The same comparison has the same id in every dataset."""
    texts = (messages_sha256, same_text(chosen), same_text(rejected))
    return uuid5(PAIR_NAMESPACE, "\x1f".join(texts))


def _mirrored_id(pair: PreferencePair) -> UUID:
    return _pair_id(pair.provenance["messages_sha256"], pair.rejected, pair.chosen)
