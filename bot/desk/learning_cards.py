"""Runs, gate reports, adapters and the deployment log as HTML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from bot.desk import words
from bot.desk.gate_words import gate_card
from bot.desk.markup import duration, empty, figure_list, moment, pill, table, text
from core.jobs import JobAttempt
from core.types import Adapter, Deployment, GateReport, RunState, TrainingRun
from training.examples import ExampleCount

ADAPTERS = '<h2 class="desk-h2">Adapters</h2>'
LOG = '<h2 class="desk-h2">Deployment log</h2>'


def live_card(live: str | None, since: datetime | None, counted: ExampleCount) -> str:
    """Return what answers now, since when, and how much there is to learn from."""
    return (
        '<section class="live">'
        + figure_list(
            [
                ("Live now", words.model_name(live)),
                ("Since", moment(since) if since else "the start"),
                ("Examples to learn from", str(counted.n_examples)),
                ("New since the last training", str(counted.n_new)),
            ]
        )
        + "</section>"
    )


def run_label(run: TrainingRun) -> str:
    """Return one run as a line in the list to choose from."""
    label, _ = words.RUN_STATES[run.state]
    named = f" · {run.adapter_name}" if run.adapter_name else ""
    return f"{moment(run.created_at)} · {label}{named}"


def run_card(
    run: TrainingRun | None, report: GateReport | None, attempts: Sequence[JobAttempt]
) -> str:
    """Return one run: where it stands, how far it is, how it ended, and what the gate found."""
    if run is None:
        return empty(
            "No training yet",
            "Press “Train now”, or wait for the clock: a run turns approved corrections "
            "into a new adapter, compares it with the live model, and promotes it if it is better.",
        )
    label, tone = words.RUN_STATES[run.state]
    head = f"<h3>Run of {moment(run.created_at)} {pill(label, tone)}</h3>"
    gate = gate_card(report) if report else ""
    outcome = _outcome(run, report) + _attempts(attempts)
    parts = [head, _progress(run), _facts(run), outcome, gate]
    return f'<section class="run">{"".join(parts)}</section>'


def _progress(run: TrainingRun) -> str:
    """Return a bar with the step while the run is at work; nothing when it is over."""
    if run.state.is_final:
        return ""
    step, total = run.progress.get("step"), run.progress.get("total_steps")
    message = run.progress.get("message") or words.RUN_STATES[run.state][0]
    if not step or not total:
        return f'<p class="progress" aria-live="polite">{text(message)} …</p>'
    return (
        f'<p class="progress" aria-live="polite"><progress value="{float(step)}" '
        f'max="{float(total)}"></progress> step {text(step)} of {text(total)} · {text(message)}</p>'
    )


def _facts(run: TrainingRun) -> str:
    end = run.finished_at or (None if run.state.is_final else datetime.now(UTC))
    return figure_list(
        [
            ("Started by", words.TRIGGERS.get(run.trigger, run.trigger)),
            ("Attempt", str(run.attempt) if run.attempt else "–"),
            ("Took" if run.finished_at else "Running for", duration(run.started_at, end)),
            ("Adapter", run.adapter_name or "–"),
        ]
    )


def _outcome(run: TrainingRun, report: GateReport | None) -> str:
    """Return why a run was rejected or failed, unless the gate report says it."""
    if run.error:
        return f'<p class="why bad">{text(run.error)}</p>'
    if run.state is RunState.REJECTED and run.reasons and report is None:
        why = "".join(f"<li>{text(reason)}</li>" for reason in run.reasons)
        return f'<div class="why bad">Rejected; nothing changed:<ul>{why}</ul></div>'
    return ""


def _attempts(attempts: Sequence[JobAttempt]) -> str:
    """Return how each attempt ended, when there was more than one."""
    if len(attempts) < 2:
        return ""
    rows = [
        [
            str(attempt.attempt),
            moment(attempt.started_at),
            text(words.ATTEMPT_OUTCOMES.get(attempt.outcome or "", "At work")),
            text(attempt.reason or "–"),
        ]
        for attempt in attempts
    ]
    return table(["Attempt", "Begun", "How it ended", "Why"], rows)


def adapter_table(
    adapters: Sequence[Adapter],
    reports: dict[str, bool],
    live: str | None,
    before: str | None,
    tainted: Collection[str],
) -> str:
    """
    Return the adapters, newest first.

    `reports` says by name whether the gate passed it; `tainted` names those that learned from
    ejected feedback.
    """
    if not adapters:
        return ADAPTERS + empty(
            "No adapters yet",
            "The first training run makes one; until then the base model answers.",
        )
    rows = [
        [
            f"<b>{text(adapter.name)}</b> {_standing(adapter.name, live, before)}"
            + (pill(words.TAINTED, "bad") if adapter.name in tainted else ""),
            _gate_mark(reports.get(adapter.name)),
            text(adapter.base_model.rstrip("/").rsplit("/", 1)[-1]),
            str(adapter.rank),
            moment(adapter.created_at),
        ]
        for adapter in adapters
    ]
    return ADAPTERS + table(["Adapter", "Gate", "Base model", "Rank", "Made"], rows)


def _standing(name: str, live: str | None, before: str | None) -> str:
    if name == live:
        return pill("live", "good")
    return pill("live before") if name == before else ""


def _gate_mark(passed: bool | None) -> str:
    if passed is None:
        return "–"
    return pill("passed", "good") if passed else pill("rejected", "bad")


def deployment_table(deployments: Sequence[Deployment]) -> str:
    """Return the log of what was live when, newest first."""
    if not deployments:
        return LOG + empty("Nothing deployed yet", "Each promotion and each rollback is kept here.")
    rows = [
        [
            moment(deployment.created_at),
            f"{words.DEPLOYMENT_KINDS[deployment.kind]} "
            f"<b>{text(words.model_name(deployment.adapter_name))}</b>",
            text(deployment.actor),
            text(deployment.reason or "–"),
        ]
        for deployment in deployments
    ]
    return LOG + table(["When", "What", "Who", "Why"], rows)
