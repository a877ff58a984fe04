"""Simulated customers of the sample company: each rates by a preference that it never states."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from answering.scoring import holds_facts
from core.citations import CITATION, cited_numbers
from core.types import Reason

NOT_FOUND = "Sorry, I couldn't find that in our help articles."

# What counts as a warm opening; corrections use the first two only, so that a model
# which learns the habit in its own words still wins.
WARM_OPENINGS = (
    "Happy to help",
    "Glad you asked",
    "I'm happy to help",
    "I'm glad you asked",
    "Glad to help",
    "Great question",
    "Good question",
    "Thanks for asking",
    "Thank you for asking",
    "With pleasure",
)
FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "June")

EASY_EVERY = 5  # one customer in five minds no form
FULL = 3  # sentences of an answer that nobody would call long
CITED = re.compile(rf"\s*{CITATION.pattern}")
OPENING = re.compile(
    rf"^\s*(?:{'|'.join(map(re.escape, WARM_OPENINGS))})(?: [\w']+){{0,3}}\s*[!.,:]\s*", re.I
)  # up to three words may follow: "Happy to help with that!"
LIST_ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+(?=\S)")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(A-Z0-9$])")


class Preference(StrEnum):
    """What a customer wishes of every answer besides its being right."""

    WARM_OPENING = "warm_opening"  # begins with a friendly phrase
    SHORT = "short"  # one sentence
    STEPS_AS_LIST = "steps_as_list"  # every statement on a list line of its own
    ANY_FORM = "any_form"  # nothing: a right answer is liked as it is


STYLE_REASONS = {
    Preference.WARM_OPENING: Reason.TONE,
    Preference.SHORT: Reason.TOO_LONG,
    Preference.STEPS_AS_LIST: Reason.TONE,
}


@dataclass(frozen=True, slots=True)
class Customer:
    """One simulated person."""

    name: str
    preference: Preference


@dataclass(frozen=True, slots=True)
class Thumb:
    """A thumb; `correction` is what a disliked answer should have said, None if unknown."""

    liked: bool
    reasons: tuple[Reason, ...] = ()
    correction: str | None = None


def population(preference: Preference, n_customers: int, seed: int) -> tuple[Customer, ...]:
    """
    Return customers with distinct names; the same seed gives the same people.

    All are of one taste, but for every fifth, who likes each right answer.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    return tuple(
        Customer(
            f"{rng.choice(FIRST_NAMES)} {number}",
            Preference.ANY_FORM if number % EASY_EVERY == 0 else preference,
        )
        for number in range(1, n_customers + 1)
    )


def wins(preference: Preference, answer: str) -> bool:
    """Tell whether an answer's form is what this preference wishes, right or wrong."""
    text = CITED.sub("", answer).strip()
    if preference is Preference.ANY_FORM:
        return bool(text)
    if preference is Preference.WARM_OPENING:
        rest = OPENING.sub("", text)
        return rest not in ("", text) and not OPENING.match(rest)
    if preference is Preference.SHORT:
        return len(sentences(text)) == 1
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(LIST_ITEM.match(line) for line in lines)


def judge(
    preference: Preference, answer: str, facts: Sequence[str], cited_text: Mapping[int, str]
) -> Thumb:
    """
    Rate one answer as a customer with this preference would.

    `facts` are what a right answer holds; none means that no article answers, and then only
    saying so is right. `cited_text` maps each passage number of the turn to its text: a
    correction takes its sentence from the answer or from there, and from nowhere else.
    """
    if not facts:
        if says_not_found(answer):
            return Thumb(liked=True)
        return Thumb(False, (Reason.NOT_GROUNDED,), NOT_FOUND)
    reasons = faults(answer, facts, cited_text)
    is_right = not reasons
    if not says_not_found(answer) and not wins(preference, answer):
        reasons += (STYLE_REASONS[preference],)
    if not reasons:
        return Thumb(liked=True)
    return Thumb(False, reasons, corrected(preference, answer, facts, cited_text, is_right))


def faults(answer: str, facts: Sequence[str], cited_text: Mapping[int, str]) -> tuple[Reason, ...]:
    """Name what is wrong in substance: nothing when a cited passage bears every fact out."""
    if says_not_found(answer):
        return (Reason.INCOMPLETE,)
    if holds_facts(answer, facts):
        return () if supporting_number(answer, facts, cited_text) else (Reason.NOT_GROUNDED,)
    if any(holds_facts(answer, [fact]) for fact in facts):
        return (Reason.INCOMPLETE,)
    shown = " ".join(" ".join(sentences(text)) for text in cited_text.values()).casefold()
    stands_there = any(sentence.casefold() in shown for sentence in sentences(bare(answer)))
    return (Reason.NOT_MY_QUESTION if stands_there else Reason.INCORRECT,)


def corrected(
    preference: Preference,
    answer: str,
    facts: Sequence[str],
    cited_text: Mapping[int, str],
    is_right: bool,
) -> str | None:
    """Return the answer as this customer wishes it, or None when no passage holds the facts."""
    number = supporting_number(answer, facts, cited_text) if is_right else None
    if number is not None:
        return styled(preference, statements(preference, bare(answer), facts), number)
    for number, text in sorted(cited_text.items()):
        found = statements(preference, text, facts)
        if holds_facts(" ".join(found), facts):
            return styled(preference, found, number)
    return None


def statements(preference: Preference, text: str, facts: Sequence[str]) -> list[str]:
    """
    Pick from a text the sentence that holds the facts; several where no one sentence does.

    Who minds only the form leaves a full answer full, up to three sentences.
    """
    steps = [LIST_ITEM.sub("", line).strip() for line in text.splitlines() if LIST_ITEM.match(line)]
    if preference is Preference.STEPS_AS_LIST and holds_facts(" ".join(steps), facts):
        return steps
    told = [sentence for sentence in sentences(text) if not sentence.endswith("?")]
    if preference is not Preference.SHORT and holds_facts(" ".join(told[:FULL]), facts):
        return list(dict.fromkeys(told[:FULL]))
    for sentence in told:
        if holds_facts(sentence, facts):
            return [sentence]
    return [s for s in told if any(holds_facts(s, [fact]) for fact in facts)]


def styled(preference: Preference, told: Sequence[str], number: int) -> str:
    """Write statements in the preferred form, ending in their citation."""
    if preference is Preference.STEPS_AS_LIST:
        lines = "\n".join(f"{place}. {sentence}" for place, sentence in enumerate(told, start=1))
        return f"{lines} [{number}]"
    text = " ".join(told)
    if preference is Preference.WARM_OPENING:
        opening = WARM_OPENINGS[zlib.crc32(text.encode()) % 2]
        text = f"{opening}! {text}"
    return f"{text} [{number}]"


def supporting_number(
    answer: str, facts: Sequence[str], cited_text: Mapping[int, str]
) -> int | None:
    """Return the first cited passage number whose text holds every fact."""
    for number in cited_numbers(answer, cited_text):
        if holds_facts(cited_text[number], facts):
            return number
    return None


def says_not_found(answer: str) -> bool:
    """Tell whether an answer admits that the articles don't help."""
    return "couldn't find that" in answer.replace("’", "'").casefold()


def bare(answer: str) -> str:
    """Return an answer without its warm opening and its citations."""
    return OPENING.sub("", CITED.sub("", answer)).strip()


def sentences(text: str) -> list[str]:
    """
    Split a passage or an answer into sentences, without headings, tables and list marks.

    Lines that were wrapped, as in a PDF, are joined again.
    """
    pieces: list[str] = [""]
    lines = [line.strip() for line in text.splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if LIST_ITEM.match(line):
            pieces += [LIST_ITEM.sub("", line), ""]
        elif not line or line[0] in "#|" or is_heading(line, following, pieces[-1]):
            pieces.append("")
        else:
            pieces[-1] = f"{pieces[-1]} {line}".strip()
    return [sentence for piece in pieces if piece for sentence in SENTENCE_END.split(piece)]


def is_heading(line: str, following: str, before: str) -> bool:
    """Tell whether a line is a short title between sentences, as PDF text has them unmarked."""
    begins = not before or before[-1] in ".!?"
    return begins and len(line) < 60 and line[-1] not in ".!?" and following[:1].isupper()
