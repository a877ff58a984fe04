"""SQL of frozen datasets: where each lies, and what it was made of."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb


def insert_dataset(
    conn: Connection[Any],
    dataset_id: UUID,
    *,
    path: str,
    sha256: str,
    n_train: int,
    n_heldout: int,
    manifest: dict[str, Any],
) -> None:
    """Store a frozen dataset's manifest. The caller owns the transaction."""
    sql = """
        INSERT INTO datasets (id, path, sha256, n_train, n_heldout, manifest)
        VALUES (%(id)s, %(path)s, %(sha256)s, %(n_train)s, %(n_heldout)s, %(manifest)s)
    """
    params = {
        "id": dataset_id,
        "path": path,
        "sha256": sha256,
        "n_train": n_train,
        "n_heldout": n_heldout,
        "manifest": Jsonb(manifest),
    }
    conn.execute(sql, params)


def newest_dataset_ids(conn: Connection[Any]) -> set[UUID]:
    """Return the ids of the examples in the newest dataset; none when there is no dataset."""
    sql = """
        SELECT (jsonb_array_elements(dataset_examples(manifest)) ->> 'id')::uuid
        FROM (SELECT manifest FROM datasets ORDER BY created_at DESC, id DESC LIMIT 1) newest
    """
    return {row[0] for row in conn.execute(sql)}
