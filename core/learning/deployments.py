"""
What is live: SQL of the deployments, the rows that say what should serve.

A row is PENDING until every model server has what it names, then LIVE; what was live before is
SUPERSEDED. `serving` is the one answer to "what answers now?".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import kwargs_row

from core.base_model import BaseModel
from core.errors import NotFound
from core.types import (
    Deployment,
    DeploymentKind,
    DeploymentState,
    ServerState,
    Serving,
)

# Of pg_advisory locks. The first is held by who writes a row, to the end of that transaction;
# the second by the worker that brings the model servers there, and by no transaction.
DEPLOYMENT_LOCK = 0x52_41_54_43
BRINGING_LOCK = 0x52_41_54_44


def serving(conn: Connection[Any], base: BaseModel) -> Serving:
    """
    Return what answers now, with `base` as the model servers' base model.

    A live adapter of another base rests: nobody can load it, so the base answers until the
    setting is changed back or another adapter goes live.
    """
    sql = """
        SELECT adapter, ready_at, base_model,
               adapter IS NULL OR same_base(base_model, base_sha256, %(name)s, %(sha256)s) AS fits
        FROM deployments WHERE state = 'live'
    """
    row = conn.execute(sql, {"name": base.name, "sha256": base.sha256}).fetchone()
    if row is None:
        return Serving(None)
    adapter, since, trained_on, fits = row
    if fits:
        return Serving(adapter, since=since)
    files = "other files of " if trained_on == base.name else ""
    why = (
        f"{adapter} rests: it was trained on {files}{trained_on}, and the base model is "
        f"{base.name}, which answers itself; set RATCHET_MODEL back, or train again"
    )
    return Serving(None, resting=adapter, why=why, since=since)


def live_adapter(conn: Connection[Any]) -> str | None:
    """Return what the live row names, whether its base is served or not; None: the base model."""
    row = conn.execute("SELECT adapter FROM deployments WHERE state = 'live'").fetchone()
    return None if row is None else row[0]


def previous_live(conn: Connection[Any], base: BaseModel) -> str | None:
    """
    Return what a rollback brings back, None when that is the base model.

    Passed over are adapters that nobody goes back to: of another base model, and those that
    learned from an ejected rater.
    """
    sql = """
        SELECT d.adapter FROM deployments d
        WHERE ready_at IS NOT NULL
          AND adapter IS DISTINCT FROM (SELECT adapter FROM deployments WHERE state = 'live')
          AND (adapter IS NULL OR (
              same_base(base_model, base_sha256, %(name)s, %(sha256)s)
              AND adapter NOT IN (SELECT adapter FROM tainted_adapters)))
        ORDER BY id DESC LIMIT 1
    """
    row = conn.execute(sql, {"name": base.name, "sha256": base.sha256}).fetchone()
    return None if row is None else row[0]


def clean_adapters_newest_live_first(conn: Connection[Any], base: BaseModel) -> list[str]:
    """
    Return the adapters of this base that were ever live and learned from nobody ejected.

    Left out is what was rolled back from when it was last live: somebody did not want it.
    """
    sql = """
        WITH log AS (
            SELECT id, adapter, base_model, base_sha256, lead(kind) OVER (ORDER BY id) AS ended_by
            FROM deployments WHERE ready_at IS NOT NULL
        ), last_time AS (
            SELECT DISTINCT ON (adapter) * FROM log
            WHERE adapter IS NOT NULL ORDER BY adapter, id DESC
        )
        SELECT adapter FROM last_time
        WHERE ended_by IS DISTINCT FROM 'rollback'
          AND same_base(base_model, base_sha256, %(name)s, %(sha256)s)
          AND adapter NOT IN (SELECT adapter FROM tainted_adapters)
        ORDER BY id DESC
    """
    params = {"name": base.name, "sha256": base.sha256}
    return [row[0] for row in conn.execute(sql, params)]


def fits_base(conn: Connection[Any], adapter: str, base: BaseModel) -> bool:
    """Return whether an adapter was trained on this base model."""
    sql = """
        SELECT same_base(base_model, base_sha256, %(base)s, %(sha256)s)
        FROM adapters WHERE name = %(adapter)s
    """
    params = {"adapter": adapter, "base": base.name, "sha256": base.sha256}
    row = conn.execute(sql, params).fetchone()
    return row is not None and bool(row[0])


def standing_hold(conn: Connection[Any]) -> tuple[str, datetime] | None:
    """Return who rolled back, and when, if no person has promoted since; else None."""
    # While it stands no run promotes, so any later promotion is a person's.
    sql = """
        SELECT actor, created_at FROM deployments h
        WHERE hold AND NOT EXISTS (
            SELECT FROM deployments p
            WHERE p.id > h.id AND p.kind = 'promote' AND p.ready_at IS NOT NULL)
        ORDER BY id DESC LIMIT 1
    """
    return conn.execute(sql).fetchone()


def lock_deployments(conn: Connection[Any]) -> None:
    """Wait until no other transaction is writing deployments; held to this one's end."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [DEPLOYMENT_LOCK])


def try_lock_bringing(conn: Connection[Any]) -> bool:
    """
    Return whether this session may bring the model servers there now; commits.

    The lock outlives the transaction, so that none is open meanwhile, and ends with
    `unlock_bringing` or with the connection.
    """
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", [BRINGING_LOCK]).fetchone()
    conn.commit()
    return row is not None and bool(row[0])


def unlock_bringing(conn: Connection[Any]) -> None:
    """Let the next one bring the model servers there."""
    conn.execute("SELECT pg_advisory_unlock(%s)", [BRINGING_LOCK])


def deploy(
    conn: Connection[Any],
    adapter: str | None,
    kind: DeploymentKind,
    actor: str,
    reason: str,
    *,
    state: DeploymentState = DeploymentState.LIVE,
    base: BaseModel | None = None,
    was_compared: bool = False,
    baseline: str | None = None,
    hold: bool = False,
) -> Deployment:
    """
    Append the row of what should serve (None: the base model) and return it.

    It supersedes what was pending and, if it is live at once, what was live. Without `base`
    the one that the adapter was registered with is stored.
    """
    _supersede(conn, DeploymentState.PENDING)
    if state is DeploymentState.LIVE:
        _supersede(conn, DeploymentState.LIVE)
    sql = """
        INSERT INTO deployments (adapter, kind, actor, reason, state, ready_at, was_compared,
                                 baseline, base_model, base_sha256, hold)
        SELECT %(adapter)s, %(kind)s, %(actor)s, %(reason)s, %(state)s,
               CASE WHEN %(state)s = 'live' THEN now() END, %(was_compared)s, %(baseline)s,
               coalesce(%(base)s, a.base_model, ''), coalesce(%(sha256)s, a.base_sha256, ''),
               %(hold)s
        FROM (SELECT) one LEFT JOIN adapters a ON a.name = %(adapter)s
        RETURNING id
    """
    params = {
        "adapter": adapter,
        "kind": kind.value,
        "actor": actor,
        "reason": reason,
        "state": state.value,
        "was_compared": was_compared,
        "baseline": baseline,
        "base": base and base.name,
        "sha256": base and base.sha256,
        "hold": hold,
    }
    row = conn.execute(sql, params).fetchone()
    assert row is not None  # RETURNING on an insert always yields one row
    return get_deployment(conn, row[0])


def make_live(conn: Connection[Any], deployment_id: int) -> None:
    """Let a pending deployment answer from now on."""
    _supersede(conn, DeploymentState.LIVE)
    sql = "UPDATE deployments SET state = 'live', ready_at = now() WHERE id = %s"
    conn.execute(sql, [deployment_id])


def fail_deployment(conn: Connection[Any], deployment_id: int, failure: str) -> None:
    """End a pending deployment that can't go live; what was live stays so."""
    sql = "UPDATE deployments SET state = 'failed', failure = %s WHERE id = %s"
    conn.execute(sql, (failure, deployment_id))


def _supersede(conn: Connection[Any], state: DeploymentState) -> None:
    sql = "UPDATE deployments SET state = 'superseded' WHERE state = %s"
    conn.execute(sql, [state.value])


def pending_deployment(conn: Connection[Any]) -> Deployment | None:
    """Return what waits for the model servers, if anything does."""
    return next(iter(_deployments(conn, state=DeploymentState.PENDING)), None)


def get_deployment(conn: Connection[Any], deployment_id: int) -> Deployment:
    """
    Return one deployment.

    Raises:
        NotFound: None has this id.
    """
    found = _deployments(conn, deployment_id=deployment_id)
    if not found:
        raise NotFound(f"no deployment {deployment_id}; the desk's learning page lists them")
    return found[0]


def list_deployments(conn: Connection[Any], limit: int = 50) -> list[Deployment]:
    """Return the deployment log, newest first."""
    return _deployments(conn, limit=limit)


def note_server(
    conn: Connection[Any], deployment_id: int, server: str, state: ServerState, reason: str = ""
) -> None:
    """Store how far a model server is with a deployment."""
    sql = """
        INSERT INTO deployment_servers (deployment_id, server, state, reason)
        VALUES (%(id)s, %(server)s, %(state)s, %(reason)s)
        ON CONFLICT (deployment_id, server) DO UPDATE
        SET state = excluded.state, reason = excluded.reason, updated_at = clock_timestamp()
    """
    params = {"id": deployment_id, "server": server, "state": state.value, "reason": reason}
    conn.execute(sql, params)


def server_states(conn: Connection[Any], deployment_id: int) -> dict[str, tuple[ServerState, str]]:
    """Return by server how far it is with a deployment, and why no further."""
    sql = "SELECT server, state, reason FROM deployment_servers WHERE deployment_id = %s"
    rows = conn.execute(sql, [deployment_id]).fetchall()
    return {server: (ServerState(state), reason) for server, state, reason in rows}


def _deployments(
    conn: Connection[Any],
    *,
    deployment_id: int | None = None,
    state: DeploymentState | None = None,
    limit: int = 1,
) -> list[Deployment]:
    sql = """
        SELECT id, adapter AS adapter_name, kind, actor, reason, created_at, state, share,
               was_compared, baseline, base_model, base_sha256, hold, failure, ready_at
        FROM deployments
        WHERE (%(id)s::bigint IS NULL OR id = %(id)s)
          AND (%(state)s::text IS NULL OR state = %(state)s)
        ORDER BY id DESC LIMIT %(limit)s
    """
    with conn.cursor(row_factory=kwargs_row(_deployment)) as cur:
        return cur.execute(sql, {"id": deployment_id, "state": state, "limit": limit}).fetchall()


def _deployment(*, kind: str, state: str, **columns: Any) -> Deployment:
    return Deployment(kind=DeploymentKind(kind), state=DeploymentState(state), **columns)
