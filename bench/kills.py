"""kill -9 of the ingest and of Postgres at random moments; what is left beside a fresh build."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
from pgvector import HalfVector
from psycopg import Connection

from bench.report import Row, at_least
from core.company import load_company
from core.db import Database
from core.errors import DatabaseUnavailable, StackError
from core.jobs import list_jobs, request_job
from core.settings import ROOT, Settings
from migrations.apply import apply
from stack import postgres

N_KILLS = 20
N_COPIES = 5  # of the sample company's Markdown articles: about 1,100 chunks
N_QUERIES = 200
CHANGED_PER_ROUND = 0.4  # of the files, so that every kill finds work to break off
START_TIMEOUT_S = 120.0
SEED = 20
BY_JOB = "from workers.tasks import carry_out; carry_out('ingest')"


def kill_rows(settings: Settings, *, n_kills: int = N_KILLS, n_copies: int = N_COPIES) -> list[Row]:
    """
    Kill ingests on a Postgres of our own and return how what is left compares with a fresh build.

    Every second kill hits Postgres, the others the ingesting process: the command and the
    worker's job by turns. Before each some articles change, so that old chunks are replaced too.
    """
    with _kill_test(settings, n_copies) as test:
        for number in range(n_kills):
            test.kill_once(number)
        test.finish()
        fresh = test.build_afresh()
        ours = test.database("killed")
        with ours.connect() as conn, fresh.connect() as other:
            n_chunks = _one(conn, "SELECT count(*) FROM chunks")
            differing = len(_contents(conn) ^ _contents(other))
            recall = _recall(conn) / _recall(other)
    left = test.left_behind
    return [
        *(
            Row(f"{n_kills} kills: {what}", left[what], "", "0", left[what] == 0, n=n_chunks)
            for what in CHECKS
        ),
        Row(f"{n_kills} kills: chunks unlike a fresh build's", differing, "", "0", differing == 0,
            "fresh build", n_chunks),
        at_least(f"{n_kills} kills: recall@10 of the index / fresh build's", recall, 0.99, "x",
                 peer="fresh build", n=N_QUERIES),
    ]  # fmt: skip


# Counted after every kill, when Postgres has come back, and at the end.
CHECKS = {
    "orphans": """
        SELECT count(*) FROM chunks c LEFT JOIN documents d ON d.id = c.document_id
        WHERE d.id IS NULL
    """,
    "documents without chunks": """
        SELECT count(*) FROM documents d
        WHERE NOT EXISTS (SELECT 1 FROM chunks c WHERE c.document_id = d.id)
    """,
    "documents with a gap": """
        SELECT count(*) FROM (
            SELECT 1 FROM chunks GROUP BY document_id
            HAVING min(position) <> 0 OR max(position) <> count(*) - 1
        ) gaps
    """,
    "lexemes miscounted": """
        SELECT count(*)
        FROM (
            SELECT lexeme, count(*) AS n_chunks
            FROM (
                SELECT (unnest(lexemes)).lexeme FROM chunks
                UNION ALL SELECT '' FROM chunks
            ) words GROUP BY lexeme
        ) counted FULL JOIN (SELECT * FROM lexeme_counts WHERE n_chunks <> 0) kept USING (lexeme)
        WHERE counted.n_chunks IS DISTINCT FROM kept.n_chunks
    """,
}


@dataclass
class KillTest:
    """One folder of articles, one Postgres, and what was found wrong so far."""

    settings: Settings
    articles: Path
    data: Path
    dsn: str
    server: subprocess.Popen[bytes]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311
    left_behind: Counter[str] = field(default_factory=Counter)
    opened: list[Database] = field(default_factory=list)

    def database(self, name: str) -> Database:
        """Return an open database of this Postgres."""
        self.opened.append(Database(f"host={self.data} dbname={name} user=postgres").open())
        return self.opened[-1]

    def kill_once(self, number: int) -> None:
        """Begin an ingest, end it or Postgres with SIGKILL in the middle, check what is left."""
        victim, as_job = ("postgres", "process")[number % 2], number % 4 > 1
        while True:
            n_changed = self._change_articles(number)
            begun_at = self._ask("SELECT clock_timestamp()::text")
            process = self._begin(as_job=as_job)
            if self._wait_for(process, int(self.chance.uniform(0, 0.7) * n_changed), begun_at):
                break
            _end(process)  # was too quick to be hit in the middle; once more
        if victim == "process":
            process.kill()
            _end(process)
        else:
            self._kill_postgres()
            said = _end(process)
            self.server = _start_postgres(self.data)
            if not as_job and process.returncode != DatabaseUnavailable.exit_code:
                raise StackError(f"without a database the command ended oddly: {said}")
        self._count_left()

    def finish(self) -> None:
        """Let the next ingest run to its end, as job and as command, and check once more."""
        for as_job in (True, False):
            _succeed(self._begin(as_job=as_job))
        self._count_left()

    def _count_left(self) -> None:
        with psycopg.connect(self.dsn) as conn:
            for what, sql in CHECKS.items():
                self.left_behind[what] += _one(conn, sql)

    def build_afresh(self) -> Database:
        """Ingest the same articles into a new database, undisturbed."""
        postgres.ensure_database(f"host={self.data} dbname=postgres user=postgres", "fresh")
        apply(f"host={self.data} dbname=fresh user=postgres")
        _succeed(self._begin(as_job=False, database="fresh"))
        return self.database("fresh")

    def _ask(self, sql: str, *params: object) -> Any:
        with psycopg.connect(self.dsn) as conn:
            return _one(conn, sql, *params)

    def _change_articles(self, number: int) -> int:
        paths = sorted(self.articles.glob("*.md"))
        chosen = self.chance.sample(paths, max(1, int(CHANGED_PER_ROUND * len(paths))))
        for path in chosen:
            with path.open("a", encoding="utf-8") as article:
                article.write(f"\n## Change {number}\n\nChanged for the {number}th time.\n")
        return len(chosen)

    def _begin(self, *, as_job: bool, database: str = "killed") -> subprocess.Popen[str]:
        if as_job:
            with psycopg.connect(self.dsn) as conn:
                open_ones = [job for job in list_jobs(conn) if job.is_open]
                conn.execute("UPDATE jobs SET lease_expires_at = now() WHERE state = 'running'")
                if not open_ones:
                    request_job(conn, "ingest", {"sources": [str(self.articles)]})
        ours = {
            "RATCHET_DATABASE_URL": f"host={self.data} dbname={database} user=postgres",
            "RATCHET_HOME": str(self.articles.parents[1] / "home"),
            "RATCHET_COMPANY": str(self.articles.parent),
            "RATCHET_MAX_ATTEMPTS": "1000",
        }
        by_command = ["-m", "cli", "ingest", str(self.articles), "--json"]
        return subprocess.Popen(
            [sys.executable, *(["-c", BY_JOB] if as_job else by_command)],
            cwd=ROOT,
            env=os.environ | ours,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait_for(self, process: subprocess.Popen[str], n_stored: int, begun_at: str) -> bool:
        """Wait until so many documents are stored and a moment more; False when it has ended."""
        sql = "SELECT count(*) FROM documents WHERE updated_at > %s"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            while _one(conn, sql, begun_at) < max(1, n_stored) and process.poll() is None:
                if time.monotonic() > deadline_s:
                    raise StackError(f"the ingest stores nothing: {_end(process)}")
                time.sleep(0.005)
        time.sleep(self.chance.uniform(0, 0.2))
        return process.poll() is None

    def _kill_postgres(self) -> None:
        """End the server and all its processes at once, as a power cut would."""
        root = psutil.Process(self.server.pid)
        for each in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.server.wait()


@contextmanager
def _kill_test(settings: Settings, n_copies: int) -> Iterator[KillTest]:
    folder = Path(tempfile.mkdtemp(prefix="rk-"))
    data, articles = folder / "postgres", folder / "company" / "articles"
    articles.mkdir(parents=True)
    for source in sorted(load_company(settings.company).articles.glob("*.md")):
        text = source.read_text(encoding="utf-8")
        for copy in range(n_copies):
            body = text.replace("# ", f"# Branch {copy}: ", 1)
            (articles / f"{source.stem}-{copy}.md").write_text(body, encoding="utf-8")
    postgres.prepare_data_folder(data)
    dsn = f"host={data} dbname=killed user=postgres"
    test = KillTest(settings, articles, data, dsn, _start_postgres(data))
    try:
        postgres.ensure_database(f"host={data} dbname=postgres user=postgres", "killed")
        apply(dsn)
        yield test
    finally:
        for database in test.opened:
            database.close()
        test.server.send_signal(signal.SIGINT)
        test.server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _start_postgres(data: Path) -> subprocess.Popen[bytes]:
    """Start the server, after a kill too: it recovers by itself."""
    with (data.parent / "postgres.log").open("ab") as log:
        server = subprocess.Popen(
            postgres.server_command(data), cwd="/", stdout=log, stderr=log, **postgres.identity()
        )
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while why := postgres.answers(f"host={data} dbname=postgres user=postgres"):
        if server.poll() is not None or time.monotonic() > deadline_s:
            raise StackError(f"Postgres did not come back: {why}; see {data.parent}/postgres.log")
        time.sleep(0.05)
    return server


def _succeed(process: subprocess.Popen[str]) -> None:
    said = _end(process, START_TIMEOUT_S)
    if process.returncode:
        raise StackError(f"an undisturbed ingest failed: {said}")


def _end(process: subprocess.Popen[str], timeout_s: float = 20.0) -> str:
    """Wait until the process has ended, by force after a while; return its last line."""
    try:
        _, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    return (said.strip().splitlines() or [""])[-1]


def _one(conn: Connection[Any], sql: str, *params: object) -> Any:
    row = conn.execute(sql, params).fetchone()
    assert row is not None  # each of these queries yields one row
    return row[0]


def _contents(conn: Connection[Any]) -> set[tuple[Any, ...]]:
    sql = """
        SELECT d.uri, d.content_sha256, c.position, c.heading_path, c.body, c.lexemes::text
        FROM documents d JOIN chunks c ON c.document_id = d.id
    """
    return {tuple(map(str, row)) for row in conn.execute(sql)}


def _recall(conn: Connection[Any]) -> float:
    """Return recall@10 of the vector index; of chunks equally near each one counts."""
    rng = np.random.default_rng(SEED)
    sql = "SELECT embedding::vector FROM chunks ORDER BY md5(body), body, id LIMIT %s"
    near = [vector.to_numpy() for (vector,) in conn.execute(sql, (N_QUERIES,))]
    found = 0
    for vector_D in near:
        query = HalfVector(vector_D + rng.normal(scale=0.03, size=vector_D.shape))
        exact = "SELECT (embedding <=> %s) + 0 AS far FROM chunks ORDER BY far LIMIT 10"
        limit = max(far for (far,) in conn.execute(exact, (query,)))
        index = "SELECT embedding <=> %s FROM chunks ORDER BY embedding <=> %s LIMIT 50"
        nearest = [far for (far,) in conn.execute(index, (query, query))][:10]
        found += sum(far <= limit + 1e-6 for far in nearest)
    return found / (10 * len(near))
