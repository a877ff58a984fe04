"""Migrations run once each, in order, and refuse a history that was tampered with."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.errors import DatabaseUnavailable, MigrationError
from migrations.apply import FOLDER, apply
from stack.dump_schema import dump_schema


@pytest.fixture
def folder(tmp_path):
    """Two small migrations of our own."""
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (id int);\nCREATE TABLE b (id int);")
    (tmp_path / "0002_c.sql").write_text("CREATE TABLE c (id int);")
    return tmp_path


def tables(dsn):
    sql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    with psycopg.connect(dsn) as conn:
        return [name for (name,) in conn.execute(sql)]


def test_schema_sql_is_the_sum_of_the_migrations(dsn):
    """Who reads one file to learn the schema must read the truth."""
    assert dump_schema(dsn) == (FOLDER / "schema.sql").read_text()


def test_each_migration_runs_once(empty_dsn, folder):
    """Every start migrates; the second one must change nothing."""
    assert ["0001_a.sql", "0002_c.sql"] == apply(empty_dsn, folder)
    assert [] == apply(empty_dsn, folder)
    assert ["a", "b", "c", "schema_migrations"] == tables(empty_dsn)


def test_a_new_migration_is_applied_after_the_old_ones(empty_dsn, folder):
    """An upgrade runs only what is new."""
    apply(empty_dsn, folder)
    (folder / "0003_d.sql").write_text("CREATE TABLE d (id int)")

    assert ["0003_d.sql"] == apply(empty_dsn, folder)


def test_a_changed_migration_is_refused_by_name(empty_dsn, folder):
    """Two databases with the same migrations must have the same schema."""
    apply(empty_dsn, folder)
    (folder / "0001_a.sql").write_text("CREATE TABLE a (id bigint)")

    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed"):
        apply(empty_dsn, folder)


def test_a_missing_migration_is_refused_by_name(empty_dsn, folder):
    """An older checkout must not run on a newer database."""
    apply(empty_dsn, folder)
    (folder / "0002_c.sql").unlink()

    with pytest.raises(MigrationError, match=r"0002_c\.sql .* missing"):
        apply(empty_dsn, folder)


def test_a_migration_skipped_in_history_is_refused_by_name(empty_dsn, folder):
    """A database that was put together by hand is not one we can upgrade."""
    apply(empty_dsn, folder)
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("DELETE FROM schema_migrations WHERE name = '0001_a.sql'")

    with pytest.raises(MigrationError, match=r"0001_a\.sql was never applied"):
        apply(empty_dsn, folder)


def test_a_failing_migration_leaves_nothing_behind(empty_dsn, folder):
    """After a mistake is put right the same command must simply work."""
    good = (folder / "0002_c.sql").read_text()
    (folder / "0002_c.sql").write_text("CREATE TABLE half (id int); SELECT no_such_function();")

    with pytest.raises(MigrationError, match=r"0002_c\.sql failed and was rolled back"):
        apply(empty_dsn, folder)

    assert ["a", "b", "schema_migrations"] == tables(empty_dsn)
    (folder / "0002_c.sql").write_text(good)
    assert ["0002_c.sql"] == apply(empty_dsn, folder)


@pytest.mark.parametrize("statement", ["COMMIT;", "begin transaction;", "  ROLLBACK ;"])
def test_a_migration_that_ends_its_transaction_is_refused(empty_dsn, folder, statement):
    """A commit in the middle is how a migration ends half-applied."""
    (folder / "0002_c.sql").write_text(f"CREATE TABLE c (id int);\n{statement}\nSELECT 1;")

    with pytest.raises(MigrationError, match=r"0002_c\.sql begins or ends a transaction"):
        apply(empty_dsn, folder)

    assert "c" not in tables(empty_dsn)


def test_tables_made_by_hand_are_refused_by_name(empty_dsn, folder):
    """Tables without a history are somebody's half-applied migration."""
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("CREATE TABLE b (id int)")

    with pytest.raises(MigrationError, match=r"0001_a\.sql failed .*\"b\" already exists"):
        apply(empty_dsn, folder)


@pytest.mark.parametrize("name", ["0004_gap.sql", "0002_twice.sql", "later.sql"])
def test_a_folder_with_a_gap_is_refused(empty_dsn, folder, name):
    """Two people who add number 0002 at once must notice before a database does."""
    (folder / name).write_text("SELECT 1")

    with pytest.raises(MigrationError, match=r"\.sql"):
        apply(empty_dsn, folder)


def test_runners_at_the_same_time_apply_each_migration_once(empty_dsn):
    """Web, worker and migrate may all start at once."""
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: apply(empty_dsn), range(4)))

    assert ["0001_initial.sql"] == sorted(name for run in runs for name in run)[:1]
    assert 1 == sum(bool(run) for run in runs)


def test_a_database_that_is_away_is_one_clear_line(tmp_path):
    """A person reads this at the first start that goes wrong."""
    with pytest.raises(DatabaseUnavailable, match="migrations can't reach the database"):
        apply(f"host={tmp_path} dbname=none user=postgres")


def test_schema_sql_can_be_loaded_as_it_is(empty_dsn):
    """The sum is a schema, not prose."""
    psql = shutil.which("psql", path=str(dump_schema.__globals__["bin_dir"]()))
    subprocess.run(
        [psql, "-q", "-v", "ON_ERROR_STOP=1", "-f", str(FOLDER / "schema.sql"), empty_dsn],
        check=True,
        capture_output=True,
    )
    assert "turns" in tables(empty_dsn)
