"""What may go live, when it does, and what answers meanwhile."""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from core import learning
from core.audit import Action, list_entries
from core.base_model import BaseModel, read_base_model
from core.errors import AdapterError, InvalidInput, ModelUnavailable, NotFound, StackError
from core.jobs import JobState
from core.settings import ROOT, Settings
from core.types import DeploymentKind, DeploymentState, GateReport, ServerState
from migrations.apply import FOLDER, apply
from tests.adapters import write_adapter
from tests.deployed import promote, rollback
from tests.model_server import running_model_server
from tests.worker import carry_out
from training import deploy, promotion, registry

PENDING, LIVE = DeploymentState.PENDING, DeploymentState.LIVE
FAILED, SUPERSEDED = DeploymentState.FAILED, DeploymentState.SUPERSEDED
AWAY = "http://127.0.0.1:9"


@pytest.fixture
def servers():
    """Two model servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(running_model_server()) for _ in range(2)]


@pytest.fixture
def settings(tmp_path, dsn, servers):
    """Settings with one model server behind them; `both` adds the other."""
    return Settings(
        home=tmp_path / "home",
        database_url=dsn,
        vllm_url=servers[0].url,
        vllm_api_key="key",
        company=tmp_path / "company",
        _env_file=None,
    )


@pytest.fixture
def both(settings, servers):
    """Settings with two model servers."""
    return settings.model_copy(update={"vllm_url": ", ".join(s.url for s in servers)})


@pytest.fixture
def make(database, settings, tmp_path):
    """A function that registers an adapter, by default one that the gate compared with the base."""

    def make(*, gated=True, passed=True, baseline=None):
        with database.connect() as conn:
            run_id = uuid4()
            folder = write_adapter(tmp_path / str(run_id))
            name = registry.register(conn, settings, folder, None).name
            if gated:
                report_of(conn, name, baseline=baseline, passed=passed)
        return name

    return make


def report_of(conn, name, *, baseline=None, passed=True):
    """Store what the gate found of an adapter."""
    run = learning.request_run(conn, "command") or learning.list_runs(conn, 1)[0]
    report = GateReport(passed, [] if passed else ["lost 2 of 60 facts"], {})
    learning.insert_gate_report(conn, run.id, name, baseline, report)


def live(database, settings):
    """What answers now."""
    with database.connect() as conn:
        return learning.serving(conn, read_base_model(settings.model))


def ask_for(database, settings, name, **options):
    """Write that an adapter should be live."""
    with database.connect() as conn:
        return promotion.request_promotion(conn, settings, name, actor="anna", **options)


def ask_by_run(database, settings, name):
    """The same, by a run that passed the gate."""
    with database.connect() as conn:
        return promotion.request_promotion_by_run(
            conn, settings, name, actor="trainer", reason="passed"
        )


def states(database):
    """The states of all deployments, oldest first."""
    with database.connect() as conn:
        return [row.state for row in learning.list_deployments(conn)][::-1]


# Bringing the model servers there ------------------------------------------------------------


def test_a_promotion_is_a_row_that_a_worker_brings_live(database, settings, servers, make):
    """A page that waits for a model server holds its visitor, and a transaction."""
    name = make()
    asked = ask_for(database, settings, name, reason="better")
    before = live(database, settings)
    changes = deploy.bring(database, settings)

    assert (PENDING, None, {}) == (asked.state, before.adapter, {})
    assert [f"made {name} live"] == changes
    assert (name, [LIVE]) == (live(database, settings).adapter, states(database))
    assert {name} == set(servers[0].adapters)
    with database.connect() as conn:
        [entry] = list_entries(conn)
    assert ("anna", Action.ADAPTER_PROMOTED, name) == (entry.actor, entry.action, entry.subject)


def test_the_row_comes_with_a_job(database, settings, make):
    """A person who promotes should not have to wait for the clock's next look."""
    name = make()
    ask_for(database, settings, name)
    job = carry_out(database, settings, "deploy")

    assert (JobState.DONE, {"changes": [f"made {name} live"]}) == (job.state, job.result)
    assert name == live(database, settings).adapter


def test_it_is_live_once_every_model_server_is_ready(database, both, servers, make):
    """A customer must not be answered by the old adapter or the new one by chance."""
    name = make()
    servers[1].says = ""
    asked = ask_for(database, both, name)
    deploy.bring(database, both)

    assert [FAILED] == states(database)
    with database.connect() as conn:
        failed = learning.get_deployment(conn, asked.id)
        each = learning.server_states(conn, asked.id)
    assert "answered nothing" in failed.failure
    assert ServerState.READY == each[servers[0].url][0]
    assert ServerState.FAILED == each[servers[1].url][0]
    assert [{}, {}] == [server.adapters for server in servers]  # tidied up

    servers[1].says = "Hello."
    promote(database, both, name)
    assert [{name}, {name}] == [set(server.adapters) for server in servers]


def test_a_failure_is_in_the_row_and_what_was_live_stays(database, settings, servers, make):
    """The person who asked has gone home; the row must say it."""
    first, second = make(), make(gated=False)
    promote(database, settings, first)
    servers[0].says = ""
    asked = ask_for(database, settings, second, overrule=True)
    [line, *_] = deploy.bring(database, settings)

    assert (first, [LIVE, FAILED]) == (live(database, settings).adapter, states(database))
    assert line.startswith(f"{second} did not go live: ")
    with pytest.raises(AdapterError, match="answered nothing"):
        deploy.wait_until_live(database, asked.id, 0)


def test_a_server_that_is_away_is_waited_for_and_not_for_ever(database, both, servers, make):
    """A restart takes a minute; a server that is gone must not keep a row open."""
    half = both.model_copy(update={"vllm_url": f"{servers[0].url},{AWAY}"})
    asked = ask_for(database, half, make())
    deploy.bring(database, half)

    with pytest.raises(ModelUnavailable, match="can't be reached"):
        deploy.wait_until_live(database, asked.id, 0)
    assert [PENDING] == states(database)
    with database.connect() as conn:
        conn.execute("UPDATE deployments SET created_at = now() - interval '1 hour'")
    deploy.bring(database, half)
    assert [FAILED] == states(database)


def test_a_row_that_no_worker_takes_is_said_in_one_line(database, settings, make):
    """Else a command would hang where the worker is down."""
    asked = ask_for(database, settings, make())

    with pytest.raises(StackError, match="no worker has taken"):
        deploy.wait_until_live(database, asked.id, 0)


def test_no_transaction_is_open_while_a_server_is_asked(database, settings, servers, make):
    """One that hangs would hold back every vacuum and every other switch."""
    asked = ask_for(database, settings, make())
    open_ones = []

    def look(path):
        sql = """
            SELECT query FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
              AND state LIKE 'idle in transaction%'
        """
        # A pool that grows sets up connections meanwhile; those end, and one that is held does not.
        until_s = time.monotonic() + 5
        with psycopg.connect(settings.dsn, autocommit=True) as conn:
            while (found := conn.execute(sql).fetchall()) and time.monotonic() < until_s:
                pass
        open_ones.extend(found)
        with database.connect() as conn:
            learning.lock_deployments(conn)  # would wait for ever if it were held

    servers[0].before = look
    deploy.bring(database, settings)

    assert [] == open_ones
    with database.connect() as conn:
        assert LIVE == learning.get_deployment(conn, asked.id).state


def test_one_worker_at_a_time_brings_the_servers_there(database, settings, servers, make):
    """Two that load the same adapter at once would each see the other's as a fault."""
    ask_for(database, settings, make())
    others = []
    servers[0].before = lambda path: others.append(deploy.bring(database, settings))

    deploy.bring(database, settings)

    assert [LIVE] == states(database)
    assert others
    assert not any(others)


def test_a_newer_wish_supersedes_what_is_pending(database, settings, servers, make):
    """The last word counts, also while the first is being brought there."""
    first, second = make(), make()
    asked = ask_for(database, settings, first)

    def once(path):
        servers[0].before = lambda path: None
        ask_for(database, settings, second)

    servers[0].before = once
    deploy.bring(database, settings)
    overtaken = states(database)
    deploy.bring(database, settings)

    assert [SUPERSEDED, PENDING] == overtaken
    assert (second, [SUPERSEDED, LIVE]) == (live(database, settings).adapter, states(database))
    with pytest.raises(AdapterError, match="another model did meanwhile"):
        deploy.wait_until_live(database, asked.id, 0)


def test_the_base_model_can_go_live(database, settings, servers, make):
    """The plainest way out when every adapter is worse."""
    name = make()
    promote(database, settings, name)
    row = promote(database, settings, "base")

    assert (None, LIVE) == (row.adapter_name, row.state)
    assert live(database, settings).adapter is None
    with pytest.raises(InvalidInput, match="base is live already"):
        ask_for(database, settings, "base")


# What may go live ----------------------------------------------------------------------------


def test_a_promotion_stores_what_the_gate_compared_it_with(database, settings, make):
    """Whoever reads the log must see what "better" meant."""
    first, ungated = make(), make(gated=False)
    row = promote(database, settings, first)
    other = promote(database, settings, ungated)
    base = read_base_model(settings.model)

    assert (True, None, False) == (row.was_compared, row.baseline, other.was_compared)
    assert (base.name, base.sha256, 1.0) == (row.base_model, row.base_sha256, row.share)


def test_a_rejected_adapter_goes_live_only_by_a_persons_word(database, settings, make):
    """The gate is there to be heard."""
    name = make(passed=False)

    with pytest.raises(promotion.NotPromotable, match=r"the gate rejected .*: lost 2 of 60"):
        ask_for(database, settings, name)
    with pytest.raises(promotion.NotPromotable):
        ask_by_run(database, settings, name)
    assert PENDING == ask_for(database, settings, name, overrule=True).state


def test_what_was_compared_with_another_model_is_not_known_to_be_better(database, settings, make):
    """Better than the base says nothing about the adapter that went live since."""
    first, late = make(), make()
    promote(database, settings, first)

    with pytest.raises(promotion.NotPromotable, match=f"the base model, and {first} is live now"):
        ask_by_run(database, settings, late)
    with database.connect() as conn:
        report_of(conn, late, baseline=first)
    assert PENDING == ask_by_run(database, settings, late).state


def test_an_unknown_or_live_adapter_is_named(database, settings, make):
    """A mistyped name must change nothing."""
    name = make()
    promote(database, settings, name)

    with pytest.raises(NotFound, match="no adapter 'support-v9'"):
        ask_for(database, settings, "support-v9")
    with pytest.raises(InvalidInput, match=f"{name} is live already"):
        ask_for(database, settings, name)


def test_what_came_up_while_it_waited_keeps_it_from_going_live(
    database, settings, servers, make, tmp_path
):
    """The rules hold at the switch, not only when somebody asked."""
    name = make()
    asked = ask_for(database, settings, name)
    other = write_other_model(tmp_path)
    deploy.bring(database, settings.model_copy(update={"model": other}))

    assert [FAILED] == states(database)
    with database.connect() as conn:
        assert "was trained on" in learning.get_deployment(conn, asked.id).failure


# Holds ---------------------------------------------------------------------------------------


def test_a_rollback_is_live_at_once_and_holds_back_the_runs(database, settings, make):
    """Who went back at night must not find the same lesson live again in the morning."""
    first = make()
    promote(database, settings, first)
    row = rollback(database, settings.model_copy(update={"vllm_url": AWAY}))
    late = make()

    assert (None, LIVE, True) == (row.adapter_name, row.state, row.hold)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    said = f"test rolled back on {day} at .*UTC; `ratchet promote {late}` makes it live"
    with pytest.raises(promotion.NotPromotable, match=said):
        ask_by_run(database, settings, late)


def test_a_persons_promotion_lifts_the_hold(database, settings, make):
    """Also one of what is live: "go on by yourselves"."""
    first = make()
    promote(database, settings, first)
    rollback(database, settings)
    promote(database, settings, "base")

    with database.connect() as conn:
        assert learning.standing_hold(conn) is None
    assert PENDING == ask_by_run(database, settings, make()).state


def test_a_promotion_that_fails_lifts_no_hold(database, settings, servers, make):
    """Nothing new is live, so the reason to hold stands."""
    promote(database, settings, make())
    rollback(database, settings)
    servers[0].says = ""
    ask_for(database, settings, make())
    deploy.bring(database, settings)

    with database.connect() as conn:
        assert learning.standing_hold(conn) is not None


def test_a_step_back_from_changed_files_is_no_hold(database, settings, servers, make):
    """Nobody judged what answered; the next run may go live."""
    first, second = make(), make()
    promote(database, settings, first)
    promote(database, settings, second)
    weights = settings.adapters / second / registry.WEIGHTS_FILE
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    changes = deploy.bring(database, settings)

    assert f"made {first} live; {second}: its files changed since it was registered" in changes
    assert (first, {first}) == (live(database, settings).adapter, set(servers[0].adapters))
    with database.connect() as conn:
        assert learning.standing_hold(conn) is None


# The base model ------------------------------------------------------------------------------


def write_other_model(tmp_path):
    """A folder with another base model."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text('{"other": 1}')
    (folder / "model.safetensors").write_bytes(b"other")
    return str(folder)


def test_an_adapter_rests_while_another_base_model_is_served(
    database, settings, servers, make, tmp_path
):
    """A changed RATCHET_MODEL must serve at once, and a change back must lose nothing."""
    name = make()
    promote(database, settings, name)
    other = settings.model_copy(update={"model": write_other_model(tmp_path)})
    now = live(database, other)
    deploy.bring(database, other)
    while_resting = set(servers[0].adapters)
    deploy.bring(database, settings)

    assert (None, name) == (now.adapter, now.resting)
    assert f"{name} rests: it was trained on {settings.model}" in now.why
    assert (set(), {name}) == (while_resting, set(servers[0].adapters))
    assert (name, None, "") == (
        live(database, settings).adapter,
        live(database, settings).resting,
        live(database, settings).why,
    )


def test_nobody_promotes_an_adapter_of_another_base(database, settings, make, tmp_path):
    """vLLM would load it where the shapes agree, and it would answer nonsense."""
    name = make()
    other = settings.model_copy(update={"model": write_other_model(tmp_path)})

    with pytest.raises(promotion.NotPromotable, match="set RATCHET_MODEL back, or train again"):
        ask_for(database, other, name, overrule=True)


def test_nothing_goes_back_to_an_adapter_of_another_base(database, settings, make, tmp_path):
    """A rollback that brings a resting adapter back would show nothing that anybody asked for."""
    promote(database, settings, make())
    other = BaseModel(write_other_model(tmp_path), "0" * 64)
    with database.connect() as conn:
        learning.deploy(conn, None, DeploymentKind.PROMOTE, "test", "", base=other)

        assert learning.previous_live(conn, other) is None
        assert [] == learning.clean_adapters_newest_live_first(conn, other)


@pytest.mark.parametrize(
    ("known", "now", "fits"),
    [
        (("/old", "a"), ("/new", "a"), True),  # moved
        (("/old", "a"), ("/old", "b"), False),  # other files under the same path
        (("/old", None), ("/old", "b"), True),  # registered before hashes were stored
        (("/old", None), ("/new", "b"), False),
        (("/old/examples/model", None), ("/new/examples/model", "b"), True),  # a new checkout
        (("/old/examples/model", "a"), ("/new/examples/model", "b"), False),
        (("org/model", "a"), ("org/model", ""), True),  # its files are on another machine
    ],
)
def test_base_models_agree_by_hash_and_else_by_name(conn, known, now, fits):
    """A folder may move, and a name may come to mean something else."""
    row = conn.execute("SELECT same_base(%s, %s, %s, %s)", (*known, *now)).fetchone()

    assert (fits,) == row


# Rows ----------------------------------------------------------------------------------------


def test_at_most_one_deployment_is_live_and_one_pending(conn):
    """Two rows that both say "live" would each be believed by somebody."""
    learning.deploy(conn, None, DeploymentKind.PROMOTE, "test", "")
    sql = """
        INSERT INTO deployments (adapter, kind, actor, state, ready_at)
        VALUES (NULL, 'promote', 'test', 'live', now())
    """

    with pytest.raises(psycopg.errors.UniqueViolation), conn.transaction():
        conn.execute(sql)


@pytest.mark.parametrize("share", [0, 1.01])
def test_a_share_is_above_nothing_and_at_most_everything(conn, share):
    """A canary of nobody would be watched for ever."""
    learning.deploy(conn, None, DeploymentKind.PROMOTE, "test", "")

    with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
        conn.execute("UPDATE deployments SET share = %s", [share])


def test_an_old_deployment_log_keeps_its_kinds_and_its_newest_row_is_live(empty_dsn, tmp_path):
    """An update must not change what answers."""
    old = tmp_path / "old"
    old.mkdir()
    for path in sorted(FOLDER.glob("000[1-5]_*.sql")):
        (old / path.name).write_bytes(path.read_bytes())
    apply(empty_dsn, old)
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("""
            INSERT INTO adapters (name, version, path, sha256, base_model, rank)
            VALUES ('support-v0001', 1, '/a', '', '/model', 8),
                   ('support-v0002', 2, '/b', '', '/model', 8);
            INSERT INTO deployments (adapter, kind, actor)
            VALUES ('support-v0001', 'promote', 'a'), ('support-v0002', 'promote', 'b'),
                   (NULL, 'rollback', 'c'), ('support-v0001', 'rollback', 'd')
        """)
    apply(empty_dsn)

    with psycopg.connect(empty_dsn) as conn:
        rows = learning.list_deployments(conn)
        now = learning.serving(conn, BaseModel("/model", "a"))
        assert "support-v0001" == now.adapter
        assert learning.previous_live(conn, BaseModel("/model", "a")) is None
        assert learning.standing_hold(conn) is None
    expected = [("rollback", LIVE), ("rollback", SUPERSEDED), *[("promote", SUPERSEDED)] * 2]
    assert expected == [(row.kind, row.state) for row in rows]
    assert all(row.ready_at == row.created_at for row in rows)


# Commands ------------------------------------------------------------------------------------


def ratchet(settings, *args):
    """Run one command on the test's database."""
    env = {
        "RATCHET_HOME": str(settings.home),
        "RATCHET_DATABASE_URL": settings.database_url,
        "RATCHET_VLLM_URL": settings.vllm_url,
        "RATCHET_MODEL": settings.model,
        "COLUMNS": "200",
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(
        [sys.executable, "-m", "cli", *args], env=env, cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_promotes_and_waits_for_the_worker(database, settings, make):
    """Exit 0 means that it answers."""
    name, ended = make(), threading.Event()

    def work():
        while not ended.wait(0.2):
            deploy.bring(database, settings)

    worker = threading.Thread(target=work)
    worker.start()
    done = ratchet(settings, "promote", name)
    ended.set()
    worker.join()

    assert (0, f"Live is now {name}.\n") == (done.returncode, done.stdout)


def test_the_commands_say_why_not_and_what_rests(database, settings, make, tmp_path):
    """One line, and an exit code for scripts."""
    name = make(passed=False)
    refused = ratchet(settings, "promote", name)
    promote(database, settings, name)
    other = settings.model_copy(update={"model": write_other_model(tmp_path)})
    listed = ratchet(other, "adapters")
    back = ratchet(settings, "rollback")

    assert (10, 1) == (refused.returncode, len(refused.stderr.splitlines()))
    assert "the gate rejected this adapter" in refused.stderr
    assert f"{name} rests: it was trained on" in listed.stdout
    assert "Live is now the base model." in back.stdout


def test_a_deployment_is_dated_from_when_it_went_live(database, settings, make):
    """ "Since" on the page is when answers changed, not when somebody asked."""
    asked = ask_for(database, settings, make())
    with database.connect() as conn:
        conn.execute("UPDATE deployments SET created_at = now() - interval '1 minute'")
    deploy.bring(database, settings)

    assert live(database, settings).since - asked.created_at > timedelta(0)
