"""What the learning page shows, read in one transaction; and a cheap way to see it has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from core.base_model import BaseModel
from core.learning import (
    gate_report_of,
    list_adapters,
    list_deployments,
    list_runs,
    previous_live,
    serving,
    standing_hold,
    tainted_adapters,
)
from core.types import Adapter, Deployment, Serving, TrainingRun
from training.examples import ExampleCount, count_examples
from training.signals import Caps

N_SHOWN = 20  # of runs, adapters and deployments each


@dataclass(frozen=True, slots=True)
class LearningOverview:
    """Where learning stands at one moment."""

    live: Serving
    before: str | None  # what a rollback would bring back
    hold: tuple[str, datetime] | None  # who rolled back, and when: no run goes live by itself
    counted: ExampleCount
    runs: list[TrainingRun]
    adapters: list[Adapter]
    gate_passed: dict[str, bool]  # by adapter name
    tainted: set[str]  # adapters that learned from ejected feedback
    deployments: list[Deployment]


def load_overview(conn: Connection[Any], base: BaseModel, caps: Caps) -> LearningOverview:
    """Return all that the page shows besides one run's own figures."""
    adapters = list_adapters(conn, N_SHOWN)
    return LearningOverview(
        live=serving(conn, base),
        before=previous_live(conn, base),
        hold=standing_hold(conn),
        counted=count_examples(conn, caps),
        runs=list_runs(conn, N_SHOWN),
        adapters=adapters,
        gate_passed=_gate_passed(conn, adapters),
        tainted=tainted_adapters(conn),
        deployments=list_deployments(conn, N_SHOWN),
    )


def fingerprint(conn: Connection[Any]) -> str:
    """Return a text that is another one as soon as `load_overview` would answer otherwise."""
    sql = """
        SELECT concat_ws('/',
            (SELECT count(*) || '.' || count(cancel_requested_at) || '.'
                 || string_agg(state || phase, ',' ORDER BY created_at)
             FROM jobs WHERE kind = 'retrain'),
            (SELECT max(version) FROM adapters),
            (SELECT count(*) FROM gate_reports),
            (SELECT max(id) || '.' || count(*) FILTER (WHERE state = 'pending') || '.'
                 || count(ready_at) FROM deployments),
            (SELECT count(*) FROM ejections),
            (SELECT max(created_at) FROM corrections),
            (SELECT count(*) FROM corrections WHERE status = 'rejected'),
            (SELECT count(*) FROM corrections WHERE status = 'approved'),
            (SELECT count(*) || '.' || count(ended_at) FROM job_attempts))
    """
    row = conn.execute(sql).fetchone()
    assert row is not None  # a SELECT without FROM yields one row
    return str(row[0])


def _gate_passed(conn: Connection[Any], adapters: list[Adapter]) -> dict[str, bool]:
    reports = {a.name: gate_report_of(conn, a.run_id) for a in adapters if a.run_id is not None}
    return {name: report.passed for name, report in reports.items() if report is not None}
