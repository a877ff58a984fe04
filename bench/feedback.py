"""Durable thumbs per second beside pgbench inserting the same row into the same Postgres."""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bench.report import Row
from bot.chat.feedback import rate
from core import conversations, turns
from core.db import Database
from core.settings import Settings
from core.types import Rating, TurnStatus
from migrations.apply import apply
from stack.postgres import bin_dir

N_CLIENTS = 8
SECONDS = 6.0


def run(settings: Settings) -> list[Row]:
    """Measure both in a scratch database of the running Postgres, which is dropped afterwards."""
    with _scratch_database(settings.dsn) as dsn:
        database = Database(dsn, max_size=N_CLIENTS).open()
        try:
            owner_id, turn_id = _turn(database)
            ours = _thumbs_per_s(database, owner_id, turn_id)
        finally:
            database.close()
        pgbench = _pgbench_per_s(dsn, turn_id)
    return [
        Row("thumbs through bot.chat.feedback.rate", ours, "1/s", n=int(ours * SECONDS)),
        Row("the same row through pgbench", pgbench, "1/s", n=int(pgbench * SECONDS)),
        Row("ratio", ours / pgbench, "x", peer="pgbench -M prepared"),
    ]


@contextmanager
def _scratch_database(dsn: str) -> Iterator[str]:
    name = f"ratchet_bench_{uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            scratch = make_conninfo(dsn, dbname=name)
            apply(scratch)
            yield scratch
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _turn(database: Database) -> tuple[UUID, UUID]:
    owner_id, turn_id = uuid4(), uuid4()
    with database.connect() as conn:
        conversation = conversations.create_conversation(conn, owner_id)
        turns.start_turn(
            conn,
            turn_id=turn_id,
            conversation_id=conversation.id,
            owner_id=owner_id,
            position=0,
            question="How long is delivery?",
            messages=[{"role": "user", "content": "How long is delivery?"}],
            passages=[],
            adapter=None,
            base_model="bench",
            prompt_version="bench",
            retrieval_ms=0.0,
        )
        turns.finish_turn(
            conn,
            turn_id,
            answer="Three days.",
            status=TurnStatus.COMPLETE,
            first_token_ms=1.0,
            total_ms=1.0,
            prompt_tokens=1,
            completion_tokens=1,
        )
    return owner_id, turn_id


def _thumbs_per_s(database: Database, owner_id: UUID, turn_id: UUID) -> float:
    done = itertools.count()
    start_s = time.perf_counter()
    deadline_s = start_s + SECONDS

    def client() -> None:
        while time.perf_counter() < deadline_s:
            rate(database, owner_id, turn_id, Rating.UP, (), "")
            next(done)

    threads = [threading.Thread(target=client) for _ in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(done) / (time.perf_counter() - start_s)


def _pgbench_per_s(dsn: str, turn_id: UUID) -> float:
    """Return pgbench's own figure, connections' making excluded."""
    parts = conninfo_to_dict(dsn)
    where = ["-h", str(parts["host"]), "-U", str(parts.get("user", "postgres"))]
    if "port" in parts:
        where += ["-p", str(parts["port"])]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "thumb.sql"
        script.write_text(
            "INSERT INTO feedback (id, turn_id, rater_id, rating, reasons, comment)\n"
            f"VALUES (uuidv7(), '{turn_id}', gen_random_uuid(), 'up', '{{}}', '');\n"
        )
        command = [
            str(bin_dir() / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(N_CLIENTS),
            "-j",
            "2",
        ]
        command += ["-T", str(int(SECONDS)), "-f", str(script), *where, str(parts["dbname"])]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    match = re.search(r"tps = ([\d.]+)", printed.stdout)
    assert match, printed.stdout
    return float(match[1])
