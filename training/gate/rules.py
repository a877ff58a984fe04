"""The gate's rules over measured answers: better on what was held out, nothing lost; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.types import GateReport
from training.gate.statistics import sign_test, wilson_interval

TIE_NATS = 0.02  # vLLM's own repeatability of a sequence's log-probability in bf16
# Of golden questions, the net share that may lose its fact or citation: freely; if it may be
# chance; never more.
FREE_LOSS_SHARE = 0.02
CHANCE_LOSS_SHARE = 0.05
CHANCE = 0.1  # a loss less likely than this under equal skill is a loss
MAX_BAD_SHARE = 0.05  # empty or looping answers
LENGTH_SLACK = 2.0

Figures = dict[str, float | list[str]]


@dataclass(frozen=True, slots=True)
class HeldoutScore:
    """The objective's score of one held-out example, in nats, under both models."""

    live: float
    candidate: float


@dataclass(frozen=True, slots=True)
class Answered:
    """One model's answer to one question, as it was scored."""

    n_words: int
    is_empty: bool
    loops: bool
    has_facts: bool = False
    cites_right: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the gate decides on; answers at the same place are to the same question."""

    heldout: Sequence[HeldoutScore]
    live_answers: Sequence[Answered]
    candidate_answers: Sequence[Answered]
    wanted_words: float  # mean length of the answers that people want
    n_golden: int  # the first so many answers are to golden questions
    golden_problems: Sequence[str] = ()  # lines of golden.jsonl that could not be asked


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule measured, and why it refuses the candidate; no reason: it lets it pass."""

    figures: Figures  # as the report stores them
    reasons: list[str] = field(default_factory=list)


def decide(evidence: Evidence) -> GateReport:
    """Apply every rule; the report names each that failed, with its figures."""
    findings = [rule(evidence) for rule in (better_on_heldout, nothing_lost, not_degenerate)]
    reasons = [reason for finding in findings for reason in finding.reasons]
    figures = {name: value for each in findings for name, value in each.figures.items()}
    return GateReport(passed=not reasons, reasons=reasons, figures=figures)


def better_on_heldout(evidence: Evidence) -> Finding:
    """Require the Wilson lower bound of wins on what was never trained on to exceed one half."""
    n_heldout = len(evidence.heldout)
    wins = sum(map(_win, evidence.heldout))
    low, high = wilson_interval(wins, n_heldout)
    gains = [score.candidate - score.live for score in evidence.heldout]
    figures: Figures = {
        "heldout_pairs": n_heldout,  # the key of reports from before there were other objectives
        "heldout_wins": wins,
        "heldout_win_rate": round(wins / n_heldout, 4) if n_heldout else 0.0,
        "heldout_win_rate_low": round(low, 4),
        "heldout_win_rate_high": round(high, 4),
        "heldout_margin_gain_nats": round(sum(gains) / n_heldout, 3) if n_heldout else 0.0,
    }
    if low > 0.5:
        return Finding(figures)
    why = (
        f"not surely better on held-out pairs: {wins:g} wins of {n_heldout}, lower bound "
        f"{low:.2f}, above 0.50 is needed"
    )
    return Finding(figures, [why])


def _win(score: HeldoutScore) -> float:
    """Return one when the candidate scores higher than the live one; ties count half."""
    gain = score.candidate - score.live
    return 0.5 if abs(gain) <= TIE_NATS else float(gain > 0)


def nothing_lost(evidence: Evidence) -> Finding:
    """Require golden questions to keep their facts and citations, beyond what chance may take."""
    n = evidence.n_golden
    reasons = []
    figures: Figures = {"golden_questions": n}
    if evidence.golden_problems:
        figures["golden_problems"] = list(evidence.golden_problems)
    for what, name in (("facts", "has_facts"), ("citations", "cites_right")):
        before = [getattr(answer, name) for answer in evidence.live_answers[:n]]
        after = [getattr(answer, name) for answer in evidence.candidate_answers[:n]]
        lost = sum(b and not a for b, a in zip(before, after, strict=True))
        gained = sum(a and not b for b, a in zip(before, after, strict=True))
        figures |= {f"golden_{what}_live": sum(before), f"golden_{what}_candidate": sum(after)}
        figures |= {f"golden_{what}_lost": lost, f"golden_{what}_gained": gained}
        if is_loss(lost, gained, n):
            reasons.append(
                f"{what} lost on golden questions: right {sum(before)} before, {sum(after)} now, "
                f"of {n} ({lost} lost, {gained} gained)"
            )
    return Finding(figures, reasons)


def is_loss(n_lost: int, n_gained: int, n_questions: int) -> bool:
    """
    Tell whether a candidate lost what the live one knew, and not by the luck of the draw.

    Answers to a few questions change either way between two equally able models; a fixed
    bound of one question would refuse a third of those.

    >>> is_loss(1, 0, 60), is_loss(6, 4, 60), is_loss(4, 0, 60), is_loss(12, 8, 60)
    (False, False, True, True)
    """
    net = n_lost - n_gained
    if net <= max(1, FREE_LOSS_SHARE * n_questions):
        return False
    return net > CHANCE_LOSS_SHARE * n_questions or sign_test(n_lost, n_gained) < CHANCE


def not_degenerate(evidence: Evidence) -> Finding:
    """Refuse empty answers, loops, and lengths far from both the live and the preferred ones."""
    answers, live = evidence.candidate_answers, evidence.live_answers
    if not answers:
        return Finding({}, ["no answer could be measured: there are no questions to ask"])
    n_empty, n_loops = sum(a.is_empty for a in answers), sum(a.loops for a in answers)
    n_words = sum(a.n_words for a in answers) / len(answers)
    live_words = sum(a.n_words for a in live) / len(live)
    figures: Figures = {
        "answers": len(answers),
        "answers_empty": n_empty,
        "answers_looping": n_loops,
        "answers_looping_live": sum(a.loops for a in live),
        "words_candidate": round(n_words, 1),
        "words_live": round(live_words, 1),
        "words_preferred": round(evidence.wanted_words, 1),
    }
    reasons = []
    most = MAX_BAD_SHARE * len(answers)
    if n_empty > max(most, sum(a.is_empty for a in live)):
        reasons.append(f"{n_empty} of {len(answers)} answers are empty")
    if n_loops > max(most, sum(a.loops for a in live)):
        reasons.append(f"{n_loops} of {len(answers)} answers repeat themselves")
    shortest = min(live_words, evidence.wanted_words) / LENGTH_SLACK
    longest = max(live_words, evidence.wanted_words) * LENGTH_SLACK
    if not shortest <= n_words <= longest:
        reasons.append(
            f"answers have {n_words:.0f} words on average, between {shortest:.0f} and "
            f"{longest:.0f} is expected"
        )
    return Finding(figures, reasons)
