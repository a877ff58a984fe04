"""An evaluation of the search as HTML: figures with intervals, a comparison, the misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bot.desk.job_card import STATES, job_head
from bot.desk.markup import empty, moment, ordinal, pill, table, text
from bot.desk.recall_plot import recall_plot
from core.jobs import Job

LEGS = {
    "dense": "By meaning",
    "text": "By words",
    "fused": "Both fused",
    "reranked": "Fused, reranked",
}
METRICS = {
    "recall@1": "Right article first",
    "recall@3": "… in the first 3",
    "recall@5": "… in the first 5",
    "recall@10": "… in the first 10",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
}
SHORT = {"recall@1": "First", "recall@5": "In 5", "ndcg@10": "nDCG@10", "mrr": "MRR"}
Known = Mapping[str, tuple[UUID, str]]  # {uri: (id, title)} of articles that are there


def evaluation_name(job: Job) -> str:
    """Return which questions an evaluation asks, and what it compares with."""
    named = str(job.request.get("queries", ""))
    questions = "answers people judged" if named == "turns" else named.rsplit("/", 1)[-1]
    against = job.request.get("against") or {}
    other = ", ".join(f"{name}={value:g}" for name, value in against.items())
    return f"{questions}, against {other}" if other else questions


def evaluation_label(job: Job) -> str:
    """Return one evaluation as a line in the list to choose from."""
    label = "" if job.state == "done" else f" · {STATES[job.state][0].lower()}"
    return f"{moment(job.created_at)} · {evaluation_name(job)}{label}"


def evaluation_card(job: Job | None) -> str:
    """Return one evaluation: how far it is, or its figures, and the comparison if it has one."""
    if job is None:
        return empty(
            "No evaluation yet",
            "Choose questions and press “Evaluate”: each is searched as the chat would, and the "
            "table tells how often the right article comes first. The golden questions are "
            "golden.jsonl of your company’s folder; the others come from liked and reviewed "
            "answers.",
        )
    head = job_head(job, f"Evaluation with {evaluation_name(job)}")
    return f'<section class="run job">{head}{_figures(job.result)}</section>'


def _figures(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    legs = {leg: result["legs"][leg] for leg in LEGS if leg in result["legs"]}
    rows = [
        [text(name), *(_interval(of_leg[metric]) for of_leg in legs.values())]
        for metric, name in METRICS.items()
    ]
    line = f"<p>{result['n_queries']} questions; below each figure its 95 % interval.</p>"
    figures = table(["", *(LEGS[leg] for leg in legs)], rows)
    plot = recall_plot({LEGS[leg]: of_leg["recall_curve"] for leg, of_leg in legs.items()})
    return f'{line}<div class="gate">{figures}</div>{_unknown(result)}{plot}{_comparison(result)}'


def _interval(figure: Mapping[str, float], form: str = ".3f") -> str:
    value, low, high = (format(figure[name], form) for name in ("value", "low", "high"))
    return f'<b>{value}</b><br><span class="faint">{low} to {high}</span>'


def _unknown(result: Mapping[str, Any]) -> str:
    names = result.get("unknown", [])
    if not names:
        return ""
    listed = ", ".join(map(str, names[:20])) + (" …" if len(names) > 20 else "")
    return (
        f'<p class="why bad">Not ingested, so never found: {text(listed)}. Bring them in under '
        "Knowledge, or mend their names in the file.</p>"
    )


def _comparison(result: Mapping[str, Any]) -> str:
    against = result.get("against")
    if not against:
        return ""
    now, other = result["legs"][result["final"]], against["legs"][against["final"]]
    rows = [
        [
            text(name),
            f"{now[metric]['value']:.3f}",
            f"{other[metric]['value']:.3f}",
            _interval(against["differences"][metric], "+.3f"),
            f"{against['differences'][metric]['p']:.2g}",
        ]
        for metric, name in METRICS.items()
    ]
    columns = table(["", "In use", "Other settings", "Difference", "p"], rows)
    return (
        f'<h4>Two settings on the same questions</h4><p class="why">{text(against["verdict"])}</p>'
        f'<div class="gate">{columns}</div>'
    )


def miss_list(misses: Sequence[Mapping[str, Any]], known: Known) -> str:
    """Return the questions whose first article is not a right one; each wants a fix."""
    if not misses:
        return '<h2 class="desk-h2">Misses</h2><p>None: a right article came first each time.</p>'
    return (
        f'<h2 class="desk-h2">Misses ({len(misses)})</h2>'
        '<p class="faint">A right article did not come first. Say in it what people ask, in their '
        "words, under a heading of its own; bring it in again and evaluate again.</p>"
        f'<ol class="misses">{"".join(_miss(miss, known) for miss in misses)}</ol>'
    )


def _miss(miss: Mapping[str, Any], known: Known) -> str:
    before = (
        f'<span class="faint">after “{text(miss["previous"])}”</span>' if miss["previous"] else ""
    )
    return (
        f"<li><b>{text(miss['question'])}</b> {before} {_where(miss['rank'])}"
        f"<dl><dt>Right</dt><dd>{_linked(miss['wanted'], known)}</dd>"
        f"<dt>Found first</dt><dd>{_linked(miss['found'], known)}</dd></dl></li>"
    )


def _where(rank: int | None) -> str:
    return pill("not found", "bad") if rank is None else pill(f"came {ordinal(rank)}", "busy")


def _linked(uris: Sequence[str], known: Known) -> str:
    return " · ".join(_link(uri, known) for uri in uris) or "nothing"


def _link(uri: str, known: Known) -> str:
    if uri not in known:
        return f"{text(uri.rsplit('/', 1)[-1] or uri)} {pill('not ingested', 'bad')}"
    article_id, title = known[uri]
    return f'<a href="/documents/{article_id}" target="_blank">{text(title)}</a>'


def history_table(jobs: Sequence[Job]) -> str:
    """Return the evaluations that came to figures, newest first."""
    done = [(job, job.result["legs"][job.result["final"]]) for job in jobs if job.result]
    if not done:
        return ""
    rows = [
        [
            moment(job.created_at),
            str(job.result["n_queries"] if job.result else 0),
            *(f"{found[metric]['value']:.3f}" for metric in SHORT),
            text(evaluation_name(job)),
        ]
        for job, found in done
    ]
    head = ["When", "Questions", *SHORT.values(), "Which"]
    return f'<h2 class="desk-h2">Earlier evaluations</h2>{table(head, rows)}'
