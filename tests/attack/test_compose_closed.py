"""Who breaks into one service of a server gets neither the others' secrets nor the tables."""

import json
import re
import subprocess
from contextlib import contextmanager

import psycopg
import pytest
import redis
from psycopg.errors import InsufficientPrivilege

from core import audit, learning
from core.db import Database
from core.errors import MigrationError
from core.settings import ROOT, Settings
from core.types import DeploymentKind
from migrations.apply import apply, read_migrations
from migrations.grants import LESS, grant
from stack.backup import back_up, restore
from tests.adapters import write_adapter
from tests.builders import make_turn
from tests.stack.compose import Stage, read_compose, running_postgres
from tests.web import free_port
from training import registry

NAMES = re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
ENV = {name: f"{number}secret{number}" for number, name in enumerate(NAMES)}
SPEC = read_compose(ENV)
SERVICES = SPEC["services"]
LEARNING = {"APP_DB_PASSWORD", "REDIS_PASSWORD", "RATCHET_VLLM_API_KEY"}
SECRETS = {
    "postgres": {"POSTGRES_PASSWORD", "OWNER_DB_PASSWORD", "APP_DB_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
    "migrate": {"OWNER_DB_PASSWORD"},
    "maintenance": {"OWNER_DB_PASSWORD"},
    "vllm": {"RATCHET_VLLM_API_KEY"},
    "beat": {"REDIS_PASSWORD"},
    "worker": LEARNING,
    "trainer": LEARNING,
    "web": LEARNING | {"RATCHET_ADMIN_PASSWORD", "RATCHET_SESSION_SECRET"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_holds_the_secrets_that_it_uses_and_no_other(name):
    """A page that is broken into must not give away the database's owner."""
    written = json.dumps(SERVICES[name])

    assert SECRETS[name] == {secret for secret, value in ENV.items() if value in written}


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_a_command(name):
    """Arguments are read by every process of the machine, by `docker ps` and by monitoring."""
    said = json.dumps([SERVICES[name].get("command"), SERVICES[name].get("healthcheck")])

    assert [] == [secret for secret, value in ENV.items() if value in said]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_can_change_nothing_of_itself(name):
    """What runs in one service must not stay in it, nor starve the others."""
    service = SERVICES[name]

    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    # postgres's entrypoint gives the volume to its user and becomes that user
    allowed = (
        {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"} if name == "postgres" else set()
    )
    assert allowed == set(service.get("cap_add", ()))
    assert not service.get("privileged")
    assert not [volume for volume in service.get("volumes", ()) if "docker.sock" in volume]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_of_one_exact_version(name):
    """A tag that moves brings in what nobody has tried."""
    service = SERVICES[name]
    if "build" in service:
        first = re.search(r"^FROM (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        image = first[1]
    else:
        image = service["image"]

    assert re.search(r":v?\d+\.\d+\.\d+", image)


def test_the_image_runs_as_nobody_who_owns_its_code():
    """Who gets in must not change what is run next."""
    text = (ROOT / "Dockerfile").read_text()

    assert ["USER 1000:1000"] == re.findall(r"^USER .*", text, re.MULTILINE)
    assert "--chown" not in text
    assert {".env*", "backups", ".git"} <= set((ROOT / ".dockerignore").read_text().split())


@pytest.fixture(scope="module")
def server():
    """A Postgres made by compose's own script, migrated by its owner, granted to its app."""
    with running_postgres(SPEC) as port:

        def dsn(service="web", dbname="ratchet"):
            url = SERVICES[service]["environment"]["RATCHET_DATABASE_URL"]
            return url.replace("@postgres:5432/ratchet", f"@127.0.0.1:{port}/{dbname}")

        apply(dsn("migrate"))
        grant(dsn("migrate"), "ratchet_app")
        yield dsn


ATTACKS = """
DROP TABLE turns
ALTER TABLE turns ADD COLUMN x text
ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only
ALTER TABLE audit_log OWNER TO ratchet_app
CREATE TABLE mine (x text)
CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'
CREATE SCHEMA mine
DROP EXTENSION vector
CREATE ROLE mine SUPERUSER
CREATE TRIGGER mine BEFORE INSERT ON turns EXECUTE FUNCTION refuse_change()
CREATE INDEX mine ON turns (question)
TRUNCATE turns
TRUNCATE audit_log
UPDATE audit_log SET actor = 'nobody'
DELETE FROM audit_log
UPDATE deployments SET actor = 'nobody'
DELETE FROM deployments
UPDATE adapters SET path = '/elsewhere', sha256 = ''
UPDATE gate_reports SET passed = true
UPDATE datasets SET path = '/elsewhere'
DELETE FROM schema_migrations
INSERT INTO schema_migrations (name, sha256) VALUES ('x', 'y')
SELECT setval('adapter_version', 1)
SET ROLE ratchet_owner
SET SESSION AUTHORIZATION postgres
SET session_replication_role = replica
COPY turns TO PROGRAM 'id'
COPY (SELECT 1) TO '/tmp/mine'
SELECT pg_read_file('postgresql.conf')
SELECT pg_ls_dir('.')
SELECT rolpassword FROM pg_authid
ALTER SYSTEM SET log_statement = 'all'
DROP DATABASE ratchet
ALTER DATABASE ratchet OWNER TO ratchet_app
CREATE DATABASE mine
"""


@pytest.mark.parametrize("statement", ATTACKS.strip().splitlines())
def test_the_apps_role_can_change_neither_tables_nor_what_was(server, statement):
    """An injection into the web app must not reach beyond its rows."""
    with (
        psycopg.connect(server(), autocommit=True) as conn,
        pytest.raises(InsufficientPrivilege),
    ):
        conn.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('postgresql.conf')",
        "CREATE ROLE mine",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SET session_replication_role = replica",
        "CREATE DATABASE mine",
    ],
)
def test_the_owner_is_no_superuser(server, statement):
    """Who migrates can change tables, and not the machine."""
    with (
        psycopg.connect(server("migrate"), autocommit=True) as conn,
        pytest.raises(InsufficientPrivilege),
    ):
        conn.execute(statement)


@pytest.mark.parametrize("dbname", ["postgres", "template1"])
def test_the_app_reaches_no_other_database(server, dbname):
    """The server's own databases are open to everybody unless that is taken away."""
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(server(dbname=dbname))


def test_the_database_asks_for_the_password(server):
    """A private network is not a reason to let everybody in."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server().replace(ENV["APP_DB_PASSWORD"], "guessed"))


def test_the_app_can_do_its_work(server, tmp_path):
    """Rights that are too narrow would show as an error on a customer's page."""
    settings = Settings(home=tmp_path, database_url=server(), _env_file=None)
    database = Database(server()).open()
    with database.connect() as conn:
        turn = make_turn(conn)
        audit.record(conn, "admin", audit.Action.SIGNED_IN)
        adapter = registry.register(conn, settings, write_adapter(tmp_path / "draft"), None)
        learning.deploy(conn, adapter.name, DeploymentKind.PROMOTE, "admin", "")
        conn.execute("CREATE TEMP TABLE incoming_chunks (x int) ON COMMIT DROP")
        conn.execute("TRUNCATE incoming_chunks")
        conn.execute(
            "INSERT INTO documents (uri, title, media_type, body, content_sha256)"
            " VALUES ('a', 'A', 'text/markdown', 'b', 'c')"
        )
        conn.execute(
            "INSERT INTO chunks (document_id, position, body, n_tokens, embedding, lexemes)"
            " SELECT id, 0, 'b', 1, array_fill(0.1, ARRAY[384])::halfvec, to_tsvector('b c')"
            " FROM documents"
        )
        conn.execute("DELETE FROM documents")
        conn.execute("DELETE FROM conversations")  # cascades to turns, feedback, corrections
        assert turn.id
        assert adapter.name == learning.live_adapter(conn)
    database.close()


def test_every_table_named_in_the_grants_exists(server):
    """A table that was renamed would fall back to all rights without a word."""
    with psycopg.connect(server()) as conn:
        found = {name for (name,) in conn.execute("SELECT tablename FROM pg_tables")}

    assert set(LESS) <= found


def test_a_new_table_is_not_the_apps_until_it_is_granted(server):
    """An append-only table must not be writable between its migration and its grant."""
    with psycopg.connect(server("migrate"), autocommit=True) as conn:
        conn.execute("CREATE TABLE later (x int)")
    with psycopg.connect(server(), autocommit=True) as conn:
        with pytest.raises(InsufficientPrivilege):
            conn.execute("SELECT * FROM later")
        grant(server("migrate"), "ratchet_app")
        assert [] == conn.execute("SELECT * FROM later").fetchall()
    with psycopg.connect(server("migrate"), autocommit=True) as conn:
        conn.execute("DROP TABLE later")


@pytest.mark.parametrize("role", ["ratchet_owner", "postgres", "nobody"])
def test_rights_are_only_given_to_a_role_without_any(server, role):
    """A superuser in the app's place would make all of this void without a sign."""
    with pytest.raises(MigrationError, match=role):
        grant(server("migrate"), role)


def test_the_owner_restores_a_backup_and_the_app_must_be_granted_again(server, short_tmp, tmp_path):
    """On a server a restore needs no superuser, and opens nothing to the app by itself."""
    owner = Settings(home=tmp_path / "old", database_url=server("maintenance"), _env_file=None)
    with psycopg.connect(server()) as conn:
        turn = make_turn(conn, question="Before")
    back_up(owner, tmp_path / "saved.tar.gz", print)
    with psycopg.connect(server()) as conn:
        make_turn(conn, question="After")

    restore(
        owner.model_copy(update={"home": short_tmp / "restored"}),
        tmp_path / "saved.tar.gz",
        replace=True,
        known=[(migration.name, migration.sha256) for migration in read_migrations()],
        migrate=lambda settings: apply(settings.dsn),
        on_step=print,
    )

    with psycopg.connect(server(), autocommit=True) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute("SELECT FROM turns")
    grant(server("migrate"), "ratchet_app")
    with psycopg.connect(server()) as conn:
        assert [(turn.id,)] == conn.execute("SELECT id FROM turns").fetchall()


@contextmanager
def running_redis(folder):
    """Run compose's own command for Redis; yield its port."""
    port = free_port()
    for name in ("data", "run"):
        (folder / name).mkdir()
    replaced = {
        "6379": str(port),
        "/data": str(folder / "data"),
        "/run/redis": str(folder / "run"),
    }
    stage = Stage(SPEC, folder, replaced, {})
    stage.start("redis")
    stage.wait_until_healthy("redis", within_s=30)
    yield port, stage
    stage.stop()


def test_redis_serves_its_user_and_lets_nobody_administer_it(tmp_path):
    """CONFIG SET dir and MODULE LOAD turn a broker's password into a shell on its machine."""
    with running_redis(tmp_path) as (port, stage):
        arguments = "\n".join(stage.arguments())
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=port, password=ENV["REDIS_PASSWORD"]) as app:
            app.set("ratchet:x", 1)
            for command in (
                "CONFIG SET dir /tmp",
                "CONFIG GET requirepass",
                "MODULE LOAD /tmp/x.so",
                "REPLICAOF 127.0.0.1 1",
                "ACL LIST",
                "DEBUG SLEEP 0",
                "SAVE",
                "SHUTDOWN",
                "FLUSHALL",
                "MONITOR",
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    app.execute_command(*command.split())
        mode = (tmp_path / "run" / "redis.conf").stat().st_mode & 0o777

    assert "redis-server" in arguments
    assert ENV["REDIS_PASSWORD"] not in arguments
    assert 0o600 == mode


def test_a_password_that_is_missing_makes_no_role(tmp_path):
    """Without a password of its own the database would be made open."""
    spec = json.loads(json.dumps(SPEC))
    del spec["services"]["postgres"]["environment"]["APP_PASSWORD"]

    with pytest.raises(subprocess.CalledProcessError), running_postgres(spec):
        pass
