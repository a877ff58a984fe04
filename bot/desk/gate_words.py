"""A gate report in words: did the candidate pass, by how much, and why not if not."""

from __future__ import annotations

from typing import Any

from bot.desk.markup import figure_list, pill, table, text
from core.types import GateReport

Figures = dict[str, Any]


def gate_card(report: GateReport) -> str:
    """Return the gate's verdict, what it rests on in words, and the figures before and after."""
    mark = pill("passed", "good") if report.passed else pill("rejected", "bad")
    why = "".join(f"<li>{text(reason)}</li>" for reason in report.reasons)
    reasons = f'<div class="why bad">Nothing changed, because:<ul>{why}</ul></div>' if why else ""
    figures = report.figures
    return (
        f'<section class="gate"><h4>Gate {mark}</h4>{reasons}'
        f"{_on_heldout(figures)}{_before_and_after(figures)}{_not_asked(figures)}</section>"
    )


def _not_asked(figures: Figures) -> str:
    """Name the golden questions that can't be read; the others were asked."""
    lines = "".join(f"<li>{text(line)}</li>" for line in figures.get("golden_problems", ()))
    named = f'<div class="why bad">Not asked, of golden.jsonl:<ul>{lines}</ul></div>'
    return named if lines else ""


def _on_heldout(figures: Figures) -> str:
    """Say how often the candidate preferred the better answer of pairs it never saw."""
    n_pairs = figures.get("heldout_pairs")
    if not n_pairs:
        return ""
    low, high = figures["heldout_win_rate_low"], figures["heldout_win_rate_high"]
    return figure_list(
        [
            ("Better on pairs held out", f"{figures['heldout_wins']:g} of {n_pairs}"),
            ("Win rate", f"{figures['heldout_win_rate']:.0%}"),
            ("Surely between", f"{low:.0%} and {high:.0%}; above 50% is needed"),
            ("Mean gain in margin", f"{figures['heldout_margin_gain_nats']:+.2f} nats"),
        ]
    )


def _before_and_after(figures: Figures) -> str:
    """Set what the live model did beside what the candidate does, on the same questions."""
    n_golden, n_answers = figures.get("golden_questions"), figures.get("answers")
    rows: list[list[str]] = []
    if n_golden:
        for what in ("facts", "citations"):
            before, after = figures[f"golden_{what}_live"], figures[f"golden_{what}_candidate"]
            lost, gained = figures[f"golden_{what}_lost"], figures[f"golden_{what}_gained"]
            rows.append(
                [
                    f"Right {what}, of {n_golden} golden questions",
                    str(before),
                    str(after),
                    f"{lost} lost, {gained} gained",
                ]
            )
    if n_answers:
        words = (f"{figures[f'words_{whose}']:.0f}" for whose in ("live", "candidate"))
        preferred = f"people preferred {figures['words_preferred']:.0f}"
        rows += [
            ["Words in an answer", *words, preferred],
            [
                f"Answers that repeat themselves, of {n_answers}",
                str(figures["answers_looping_live"]),
                str(figures["answers_looping"]),
                f"{figures['answers_empty']} empty",
            ],
        ]
    cells = [[text(cell) for cell in row] for row in rows]
    return table(["", "Live", "Candidate", ""], cells) if cells else ""
