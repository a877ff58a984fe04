"""SQL of trained adapters and their gate reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from core.errors import NotFound
from core.types import Adapter, GateReport


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an adapter stood the gate against `baseline` (None: the base model)."""

    baseline: str | None
    passed: bool
    reasons: list[str]


def next_adapter_name(conn: Connection[Any]) -> tuple[int, str]:
    """
    Return a version and name never given out before, even if this transaction is undone.

    vLLM keys its prefix cache by adapter name: a name used twice may serve stale cache.
    """
    row = conn.execute("SELECT nextval('adapter_version')").fetchone()
    assert row is not None
    version = int(row[0])
    return version, f"support-v{version:04d}"


def insert_adapter(
    conn: Connection[Any],
    *,
    name: str,
    version: int,
    run_id: UUID | None,
    path: str,
    sha256: str,
    base_model: str,
    rank: int,
    base_sha256: str | None = None,
) -> Adapter:
    """
    Store a registered adapter and return it. The caller owns the transaction.

    With it is stored the dataset that its run has at this moment: a later attempt has another.
    """
    sql = """
        INSERT INTO adapters (name, version, run_id, dataset_id, path, sha256, base_model,
                              base_sha256, rank)
        VALUES (%(name)s, %(version)s, %(run_id)s,
                (SELECT dataset_id FROM training_runs WHERE id = %(run_id)s),
                %(path)s, %(sha256)s, %(base_model)s, %(base_sha256)s, %(rank)s)
        RETURNING id, name, version, run_id, path, sha256, base_model, rank, created_at,
                  base_sha256
    """
    params = {
        "name": name,
        "version": version,
        "run_id": run_id,
        "path": path,
        "sha256": sha256,
        "base_model": base_model,
        "base_sha256": base_sha256,
        "rank": rank,
    }
    with conn.cursor(row_factory=class_row(Adapter)) as cur:
        adapter = cur.execute(sql, params).fetchone()
    assert adapter is not None  # RETURNING on an insert always yields one row
    return adapter


def get_adapter(conn: Connection[Any], name: str) -> Adapter:
    """
    Return one adapter by its name.

    Raises:
        NotFound: No adapter has this name.
    """
    sql = """
        SELECT id, name, version, run_id, path, sha256, base_model, rank, created_at, base_sha256
        FROM adapters WHERE name = %s
    """
    with conn.cursor(row_factory=class_row(Adapter)) as cur:
        adapter = cur.execute(sql, [name]).fetchone()
    if adapter is None:
        raise NotFound(f"no adapter {name[:80]!r}; `ratchet adapters` lists them")
    return adapter


def list_adapters(conn: Connection[Any], limit: int = 100) -> list[Adapter]:
    """Return the adapters, newest first."""
    sql = """
        SELECT id, name, version, run_id, path, sha256, base_model, rank, created_at, base_sha256
        FROM adapters ORDER BY version DESC LIMIT %s
    """
    with conn.cursor(row_factory=class_row(Adapter)) as cur:
        return cur.execute(sql, [limit]).fetchall()


def adapter_names(conn: Connection[Any]) -> set[str]:
    """Return the names of all adapters ever registered."""
    return {row[0] for row in conn.execute("SELECT name FROM adapters")}


def adapters_on_trial(conn: Connection[Any]) -> set[str]:
    """Return the adapters whose run has not ended; they are being gated."""
    sql = """
        SELECT a.name FROM adapters a JOIN jobs j ON j.id = a.run_id WHERE j.is_open
    """
    return {row[0] for row in conn.execute(sql)}


def insert_gate_report(
    conn: Connection[Any], run_id: UUID, adapter: str, baseline: str | None, report: GateReport
) -> None:
    """Store how `adapter` did against `baseline` (None: the base model)."""
    sql = """
        INSERT INTO gate_reports (run_id, adapter, baseline, passed, reasons, figures)
        VALUES (%(run_id)s, %(adapter)s, %(baseline)s, %(passed)s, %(reasons)s, %(figures)s)
    """
    params = {
        "run_id": run_id,
        "adapter": adapter,
        "baseline": baseline,
        "passed": report.passed,
        "reasons": report.reasons,
        "figures": Jsonb(report.figures),
    }
    conn.execute(sql, params)


def gate_report_of(conn: Connection[Any], run_id: UUID) -> GateReport | None:
    """Return the run's newest gate report, None if it has not come to the gate."""
    sql = """
        SELECT passed, reasons, figures FROM gate_reports
        WHERE run_id = %s ORDER BY created_at DESC, id DESC LIMIT 1
    """
    with conn.cursor(row_factory=class_row(GateReport)) as cur:
        return cur.execute(sql, [run_id]).fetchone()


def comparison_of(conn: Connection[Any], adapter: str) -> Comparison | None:
    """Return what the gate last found of this adapter, None if it has not come to the gate."""
    sql = """
        SELECT baseline, passed, reasons FROM gate_reports
        WHERE adapter = %s ORDER BY created_at DESC, id DESC LIMIT 1
    """
    with conn.cursor(row_factory=class_row(Comparison)) as cur:
        return cur.execute(sql, [adapter]).fetchone()
