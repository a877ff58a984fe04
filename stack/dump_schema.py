"""Writes schema.sql, the sum of all migrations: `python -m stack.dump_schema DSN`."""

from __future__ import annotations

import re
import subprocess
import sys

from core.errors import MigrationError
from migrations.apply import FOLDER
from stack.pgtools import libpq_environment
from stack.postgres import bin_dir

HEADER = """\
-- The sum of all migrations, for reading; a test proves it equal.
-- Made by `python -m stack.dump_schema DSN` on a migrated database; don't edit.
"""
# Comments, session settings and pg_dump's per-run restrict key say nothing about the schema.
NOISE = re.compile(
    r"^(--|SET |SELECT pg_catalog\.set_config|\\restrict |\\unrestrict |COMMENT ON EXTENSION )"
    r".*$\n?",
    re.MULTILINE,
)


def dump_schema(dsn: str) -> str:
    """Return the database's schema as normalised SQL."""
    done = subprocess.run(
        [str(bin_dir() / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges"],
        env=libpq_environment(dsn),  # a password in an argument can be read by everybody
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise MigrationError(f"pg_dump failed: {done.stderr.strip().splitlines()[-1]}")
    body = re.sub(r"\n{3,}", "\n\n", NOISE.sub("", done.stdout)).strip()
    return f"{HEADER}\n{body}\n"


if __name__ == "__main__":
    (FOLDER / "schema.sql").write_text(dump_schema(sys.argv[1]))
