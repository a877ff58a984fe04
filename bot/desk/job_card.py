"""A job as HTML: where it stands, how far it is, why it failed, what an ingest refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.desk.markup import duration, moment, pill, table, text
from core.jobs import Job

STATES: dict[str, tuple[str, str]] = {
    "queued": ("Waiting for the worker", "busy"),
    "running": ("At work", "busy"),
    "done": ("Done", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", "bad"),
}
PATIENCE_S = 30.0  # a worker looks every five seconds
COUNTS = {
    "added": "new",
    "changed": "changed",
    "unchanged": "unchanged",
    "removed": "removed",
    "skipped": "of a kind that can’t be read",
}


def ingest_card(job: Job | None) -> str:
    """Return the newest ingest; nothing when there was none."""
    if job is None:
        return ""
    sources = ", ".join(_short(source) for source in job.request.get("sources", []))
    what = f"Bringing in {sources[:200]}"
    return f'<section class="run job">{job_head(job, what)}{_ingest_report(job)}</section>'


def job_head(job: Job, what: str) -> str:
    """Return a job's headline, its bar while it works, and why it failed."""
    label, tone = STATES[job.state]
    took = f" · took {duration(job.created_at, job.finished_at)}" if job.finished_at else ""
    return (
        f"<h3>{text(what)} {pill(label, tone)}</h3>"
        f'<p class="faint">{moment(job.created_at)}{took}</p>{_progress(job)}{_failure(job)}'
    )


def _progress(job: Job) -> str:
    if job.state == "queued":
        waits_s = (datetime.now(UTC) - job.created_at).total_seconds()
        hint = "" if waits_s < PATIENCE_S else " No worker took it yet; `ratchet status` says why."
        return f'<p class="progress" aria-live="polite">It begins within seconds.{hint}</p>'
    if job.state != "running":
        return ""
    done, total = job.progress.get("done", 0), job.progress.get("total", 0)
    bar = f'<progress value="{int(done)}" max="{max(1, int(total))}"></progress>'
    where = _short(str(job.progress.get("path", "")))
    return (
        f'<p class="progress" aria-live="polite">{bar} {int(done)} of {int(total)} '
        f'<span class="faint">{text(where)}</span></p>'
    )


def _failure(job: Job) -> str:
    return f'<p class="why bad">{text(job.error)}</p>' if job.error else ""


def _ingest_report(job: Job) -> str:
    """Return what came in, and each refused file with its reason."""
    if job.result is None:
        return ""
    counts = [f"{job.result[k]} {word}" for k, word in COUNTS.items() if job.result.get(k)]
    n_chunks = int(job.result.get("n_chunks", 0))
    chunks = f"; {n_chunks} passage{'' if n_chunks == 1 else 's'}" if n_chunks else ""
    line = f"<p>{text(', '.join(counts) or 'Nothing found')}{chunks}.</p>"
    problems: list[dict[str, Any]] = job.result.get("problems", [])
    if not problems:
        return line
    rows = [[text(_short(each["path"])), text(each["reason"])] for each in problems]
    return f"{line}{table([f'{len(rows)} refused', 'Why'], rows)}"


def _short(source: str) -> str:
    """Return a URL whole, of a path its last part."""
    return source if "://" in source else source.rstrip("/").rsplit("/", 1)[-1]
