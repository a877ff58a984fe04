"""What the benches search: a scratch database, public data fetched by hand, and more like it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.conninfo import make_conninfo

from core.db import Database
from core.settings import ROOT
from migrations.apply import apply

DATA = ROOT / "var" / "data"  # public sets, fetched by hand; never part of the project


@contextmanager
def scratch_database(dsn: str) -> Iterator[Database]:
    """Yield a new migrated database on the same server, dropped at the end."""
    name = f"bench_{uuid4().hex}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    own_dsn = make_conninfo(dsn, dbname=name)
    apply(own_dsn)
    database = Database(own_dsn).open()
    try:
        yield database
    finally:
        database.close()
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def more_like(embeddings_ND: NDArray[np.float32], n: int, seed: int) -> NDArray[np.float32]:
    """
    Return n unit vectors spread like the given ones: each between two of them, with noise.

    Random directions would be no test: real embeddings lie in clusters.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(embeddings_ND), size=(2, n))
    share = rng.uniform(0.5, 1.0, size=(n, 1))
    mixed = share * embeddings_ND[first] + (1 - share) * embeddings_ND[second]
    mixed += rng.normal(scale=0.01, size=mixed.shape)
    unit: NDArray[np.float32] = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
