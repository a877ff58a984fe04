"""Turn approved corrections into honest preference pairs; pure, one function per rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID, uuid5

from core.learning import FeedbackRow
from core.types import Correction, CorrectionStatus, PairKind, PreferencePair

RULES_VERSION = "2"  # goes into each dataset's manifest; raise it when a rule changes
PAIR_NAMESPACE = UUID("5a0c6f5e-3b52-4c3e-9a86-0c6a1f2f7d11")
MAX_ANSWER_CHARS = 2000  # about 500 tokens; longer answers would push prompts out of the context
WHITE_SPACE = re.compile(r"\s+")


def build_pairs(
    rows: Sequence[FeedbackRow], max_pairs_per_rater: int, max_pairs_per_address: int
) -> list[PreferencePair]:
    """
    Return the pairs that this feedback honestly supports, ordered by id.

    A pair compares two answers to the very same messages: a correction that an admin wrote or
    approved, over the answer it corrects. The same pair found twice counts once, pairs that
    contradict each other are dropped, and of each customer and each address only the newest
    remain. The same feedback in any order gives the same pairs.
    """
    newest_first = sorted(rows, key=lambda row: (row.created_at, row.turn_id), reverse=True)
    found = filter(is_trainable, correction_pairs(newest_first))
    sound = without_contradictions(without_duplicates(found))
    capped = cap_customers(sound, max_pairs_per_rater, max_pairs_per_address)
    return sorted(capped, key=lambda pair: pair.id)


def correction_pairs(rows: Iterable[FeedbackRow]) -> Iterator[PreferencePair]:
    """Prefer what an answer should have said over what it said."""
    for row in rows:
        correction = counting_correction(row.corrections)
        if correction is not None:
            yield _pair(row, correction)


def counting_correction(corrections: Iterable[Correction]) -> Correction | None:
    """
    Return the newest correction that an admin wrote or approved, None when there is none.

    What nobody reviewed never counts: a stranger writes as many as they like. An approval
    stands by itself; whether somebody still dislikes the answer makes no difference to it.
    """
    approved = [c for c in corrections if c.status is CorrectionStatus.APPROVED]
    return max(approved, key=lambda c: (c.created_at, c.id), default=None)


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


def cap_customers(
    pairs: Iterable[PreferencePair], max_per_rater: int, max_per_address: int
) -> list[PreferencePair]:
    """
    Keep the first so many pairs of each customer and of each address; admins' own all stay.

    A reviewer may be deceived, and half a percent of poisoned pairs can steer DPO
    (docs/sources.md), so nobody gets many. Where no address is known none is counted.
    """
    n_pairs: Counter[tuple[str, str]] = Counter()
    kept = []
    for pair in pairs:
        if not pair.provenance["by_admin"]:
            limits = {("rater", str(pair.rater_id)): max_per_rater}
            if origin := pair.provenance["origin"]:
                limits["address", origin] = max_per_address
            if any(n_pairs[key] >= limit for key, limit in limits.items()):
                continue
            n_pairs.update(limits.keys())
        kept.append(pair)
    return kept


def same_text(text: str) -> str:
    """Return a text as it is compared: without outer and doubled white space."""
    return WHITE_SPACE.sub(" ", text).strip()


def _pair(row: FeedbackRow, correction: Correction) -> PreferencePair:
    return PreferencePair(
        id=_pair_id(row.messages_sha256, correction.body, row.answer),
        kind=PairKind.CORRECTION,
        turn_id=row.turn_id,
        conversation_id=row.conversation_id,
        rater_id=correction.author_id,
        messages=row.messages,
        chosen=correction.body.strip(),
        rejected=row.answer.strip(),
        provenance={
            "correction_id": str(correction.id),
            "by_admin": correction.by_admin,
            "origin": correction.origin,
            "messages_sha256": row.messages_sha256,
            "raters": [str(correction.author_id)],
        },
    )


def _pair_id(messages_sha256: str, chosen: str, rejected: str) -> UUID:
    """The same comparison has the same id in every dataset."""
    texts = (messages_sha256, same_text(chosen), same_text(rejected))
    return uuid5(PAIR_NAMESPACE, "\x1f".join(texts))


def _mirrored_id(pair: PreferencePair) -> UUID:
    return _pair_id(pair.provenance["messages_sha256"], pair.rejected, pair.chosen)
