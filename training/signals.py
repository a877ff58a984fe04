"""
What counts for learning, of all that people said, and why the rest does not.

Only a correction that an admin wrote or approved can count: anybody on the internet can press
thumbs and propose corrections, as many as they like. The desk shows exactly these decisions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid5

from psycopg import Connection

from core.errors import TurnNotFound
from core.learning import AnswerFeedback, load_feedback
from core.settings import Settings
from core.types import Correction, CorrectionStatus, Feedback, Review, TurnStatus

COMPARISONS = UUID("5a0c6f5e-3b52-4c3e-9a86-0c6a1f2f7d11")  # name space of `comparison_id`
MAX_ANSWER_CHARS = 2000  # about 500 tokens; longer answers would push prompts out of the context
WHITE_SPACE = re.compile(r"\s+")

Said = TypeVar("Said", Correction, Feedback, Review)


class WhyNot(StrEnum):
    """Why something that a person said is not learned from, in the words the desk shows."""

    DELETED = "its conversation was deleted"
    NOT_COMPLETE = "the answer is not complete"
    EJECTED = "its author is ejected"
    REPLACED = "replaced by a newer one of the same author"
    NOT_REVIEWED = "not reviewed yet"
    REJECTED = "rejected"
    NEWER_APPROVED = "a newer approved correction counts instead"
    EMPTY = "there is no text to compare"
    TOO_LONG = f"longer than {MAX_ANSWER_CHARS} characters"
    SAME_TEXT = "it says the same as the answer"
    DUPLICATE = "it repeats another approved correction"
    CONTRADICTED = "it contradicts another approved correction"
    RATER_CAP = "enough newer ones of the same author count"
    ADDRESS_CAP = "enough newer ones from the same address count"
    THUMB = "a thumb alone does not say what is better"
    VERDICT = "a verdict alone does not say what is better"


@dataclass(frozen=True, slots=True)
class Signal(Generic[Said]):
    """One thing that a person said of an answer; it counts when `why_not` is None."""

    said: Said
    why_not: WhyNot | None = None
    other: UUID | None = None  # the correction that this one repeats or contradicts


@dataclass(frozen=True, slots=True)
class AnswerSignals:
    """One answer with all that was said of it, newest first, and what of it counts."""

    answer: AnswerFeedback
    corrections: tuple[Signal[Correction], ...]
    thumbs: tuple[Signal[Feedback], ...]
    reviews: tuple[Signal[Review], ...]

    @property
    def counting(self) -> Correction | None:
        """The one correction that is learned from."""
        return next((signal.said for signal in self.corrections if signal.why_not is None), None)


@dataclass(frozen=True, slots=True)
class Caps:
    """How many corrections of one customer, and from one address, may count."""

    per_rater: int
    per_address: int

    @classmethod
    def of(cls, settings: Settings) -> Caps:
        """Return the caps that these settings name."""
        return cls(settings.max_pairs_per_rater, settings.max_pairs_per_address)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A correction that counts by itself, with the ids that comparing it with others needs."""

    correction: Correction
    id: UUID
    mirrored_id: UUID  # of the same two texts, preferred the other way round


def load_signals(conn: Connection[Any], caps: Caps) -> list[AnswerSignals]:
    """Return the answers of which something may count, the newest first."""
    return weigh(load_feedback(conn), caps)


def load_signals_of(conn: Connection[Any], turn_id: UUID, caps: Caps) -> AnswerSignals:
    """
    Return what was said of one answer and what of it counts.

    Raises:
        TurnNotFound: No turn has this id.
    """
    signals = weigh(load_feedback(conn, turn_id), caps)
    found = next((each for each in signals if each.answer.turn_id == turn_id), None)
    if found is None:
        raise TurnNotFound(f"no turn {turn_id}")
    return found


def weigh(answers: Iterable[AnswerFeedback], caps: Caps) -> list[AnswerSignals]:
    """
    Decide for everything that was said whether it counts; the newest answer comes first.

    `answers` must hold every answer with an approved correction, since repeats, contradictions
    and caps depend on the others. The same answers in any order give the same decisions.
    """
    newest_first = sorted(answers, key=lambda a: (a.created_at, a.turn_id), reverse=True)
    by_themselves = {a.turn_id: _weigh_alone(a) for a in newest_first}
    comparisons = [
        comparison(answer, correction)
        for answer in newest_first
        for correction in answer.corrections
        if by_themselves[answer.turn_id][correction.id] is None
    ]
    left_out = _weigh_together(comparisons, caps)
    return [_signals(answer, by_themselves[answer.turn_id], left_out) for answer in newest_first]


def comparison(answer: AnswerFeedback, correction: Correction) -> Comparison:
    """Return a correction as the comparison it makes: what should be said over what was said."""
    sha256, better, worse = answer.messages_sha256, correction.body, answer.answer
    return Comparison(
        correction, comparison_id(sha256, better, worse), comparison_id(sha256, worse, better)
    )


def comparison_id(messages_sha256: str, better: str, worse: str) -> UUID:
    """Return the id of a comparison: the same prompt and texts have the same one everywhere."""
    texts = (messages_sha256, same_text(better), same_text(worse))
    return uuid5(COMPARISONS, "\x1f".join(texts))


def same_text(text: str) -> str:
    """Return a text as it is compared: without outer and doubled white space."""
    return WHITE_SPACE.sub(" ", text).strip()


def _weigh_alone(answer: AnswerFeedback) -> dict[UUID, WhyNot | None]:
    """Decide on an answer's corrections without regard to other answers."""
    newest: dict[UUID, Correction] = {}
    for correction in sorted(answer.corrections, key=_age):
        newest[correction.author_id] = correction
    approved = [
        c
        for c in newest.values()
        if c.status is CorrectionStatus.APPROVED and c.author_id not in answer.ejected
    ]
    last = max(approved, key=_age, default=None)
    return {
        c.id: next(_faults(answer, c, newest[c.author_id], last), None) for c in answer.corrections
    }


def _age(correction: Correction) -> tuple[object, UUID]:
    return correction.created_at, correction.id


def _faults(
    answer: AnswerFeedback, correction: Correction, newest: Correction, last: Correction | None
) -> Iterator[WhyNot]:
    """
    Yield what keeps a correction from counting, the weightiest first.

    An approval stands by itself; whether somebody still dislikes the answer makes no difference.
    """
    better, worse = same_text(correction.body), same_text(answer.answer)
    faults = {
        WhyNot.DELETED: answer.is_deleted,
        WhyNot.NOT_COMPLETE: answer.status is not TurnStatus.COMPLETE,
        WhyNot.EJECTED: correction.author_id in answer.ejected,
        # Whoever gets harmless words approved must not put others in their place.
        WhyNot.REPLACED: correction is not newest,
        WhyNot.NOT_REVIEWED: correction.status is CorrectionStatus.PROPOSED,
        WhyNot.REJECTED: correction.status is CorrectionStatus.REJECTED,
        WhyNot.NEWER_APPROVED: correction is not last,
        WhyNot.EMPTY: not better or not worse,
        WhyNot.TOO_LONG: len(better) > MAX_ANSWER_CHARS,
        WhyNot.SAME_TEXT: better == worse,
    }
    return (why_not for why_not, is_so in faults.items() if is_so)


def _weigh_together(
    comparisons: Iterable[Comparison], caps: Caps
) -> dict[UUID, tuple[WhyNot, UUID | None]]:
    """
    Return by correction why some of these do not count after all; the newest come first.

    A popular question must not drown the others, so repeats count once; two that contradict
    each other both fall; and of each customer and each address only the newest remain.
    """
    left_out: dict[UUID, tuple[WhyNot, UUID | None]] = {}
    first: dict[UUID, Comparison] = {}
    for each in comparisons:
        kept = first.setdefault(each.id, each)
        if kept is not each:
            left_out[each.correction.id] = WhyNot.DUPLICATE, kept.correction.id
    n_counting: Counter[tuple[WhyNot, str]] = Counter()
    for each in first.values():
        if (mirrored := first.get(each.mirrored_id)) is not None:
            left_out[each.correction.id] = WhyNot.CONTRADICTED, mirrored.correction.id
        elif (full := _full_cap(each.correction, n_counting, caps)) is not None:
            left_out[each.correction.id] = full, None
        else:
            n_counting.update(_shares(each.correction))
    return left_out


def _full_cap(
    correction: Correction, n_counting: Mapping[tuple[WhyNot, str], int], caps: Caps
) -> WhyNot | None:
    """
    Return the cap that leaves no room for a customer's correction; admins' own are not capped.

    A reviewer may be deceived, and half a percent of poisoned pairs can steer DPO
    (docs/sources.md), so nobody gets many.
    """
    limits = {WhyNot.RATER_CAP: caps.per_rater, WhyNot.ADDRESS_CAP: caps.per_address}
    full = (cap for cap, who in _shares(correction) if n_counting[cap, who] >= limits[cap])
    return next(full, None)


def _shares(correction: Correction) -> list[tuple[WhyNot, str]]:
    """Return whose caps a correction uses up; where no address is known none is counted."""
    if correction.by_admin:
        return []
    rater = WhyNot.RATER_CAP, str(correction.author_id)
    return [rater, (WhyNot.ADDRESS_CAP, correction.origin)] if correction.origin else [rater]


def _signals(
    answer: AnswerFeedback,
    alone: Mapping[UUID, WhyNot | None],
    together: Mapping[UUID, tuple[WhyNot, UUID | None]],
) -> AnswerSignals:
    return AnswerSignals(
        answer,
        corrections=tuple(
            Signal(c, *together.get(c.id, (alone[c.id], None))) for c in answer.corrections
        ),
        thumbs=tuple(Signal(thumb, WhyNot.THUMB) for thumb in answer.thumbs),
        reviews=tuple(Signal(review, WhyNot.VERDICT) for review in answer.reviews),
    )
