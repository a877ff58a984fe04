"""A backup brings everything back in another home; what is damaged or foreign changes nothing."""

import gzip
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from core import audit, learning
from core.errors import InvalidInput, StackError
from core.secrets import MARKER, renew_exposed
from core.settings import Settings
from migrations.apply import apply, read_migrations
from stack import pgtools
from stack.archive import DUMP, MANIFEST, SECRETS
from stack.backup import back_up, restore
from stack.swap import ALL_OUT, BEFORE, exchanged, put_back
from tests.adapters import write_adapter
from tests.builders import make_turn
from training import registry

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
KNOWN = [(migration.name, migration.sha256) for migration in read_migrations()]


@contextmanager
def short_home():
    """Yield a function that gives the settings of a new home with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    folder.chmod(0o711)  # Postgres's own user passes through
    yield lambda name: Settings(home=folder / name, _env_file=None)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_home():
    """A function that gives the settings of a new home, on a Postgres of its own."""
    with short_home() as make:
        yield make


@pytest.fixture
def lived_in(new_home):
    """A home with a turn, an adapter, a dataset, an upload and secrets, to be changed."""
    return fill(new_home("old"))


@pytest.fixture(scope="module")
def kept():
    """The same for tests that change nothing in it."""
    with short_home() as make:
        yield fill(make("kept"))[0]


@pytest.fixture(scope="module")
def saved(kept, tmp_path_factory):
    """A backup of the kept home."""
    file = tmp_path_factory.mktemp("saved") / "saved.tar.gz"
    back_up(kept, file, quietly)
    return file


def fill(settings):
    """Make a home as a stack that has been used leaves it."""
    dataset_id = uuid4()
    folder = settings.datasets / str(dataset_id)
    upload = settings.home / "uploads" / "Über uns (neu).md"
    for made in (folder, upload.parent):
        made.mkdir(parents=True, mode=0o700)
    settings.home.chmod(0o711)
    for name in ("train.jsonl", "heldout.jsonl", "manifest.json"):
        (folder / name).write_text(f'{{"{name}": "x\u2028y"}}\n')
    upload.write_text("# Returns\n\nWithin 30 days.\n")
    renew_exposed(settings.home)  # as a first start does
    for name in ("admin-password", "session-secret", "vllm-api-key"):
        settings.secret(name)
    draft = write_adapter(settings.home / "draft")
    with pgtools.database(settings, make=True) as dsn:
        apply(dsn)
        with psycopg.connect(dsn) as conn:
            turn = make_turn(conn, question="May I return it?")
            adapter = registry.register(conn, settings, draft, None)
            learning.insert_dataset(
                conn, dataset_id, path=str(folder), sha256="0", n_train=1, n_heldout=1, manifest={}
            )
            conn.execute(
                "INSERT INTO documents (uri, title, media_type, body, content_sha256)"
                " VALUES (%s, 'Returns', 'text/markdown', 'b', 'c'),"
                " ('/elsewhere/a.md', 'A', 'text/markdown', 'b', 'c')",
                [str(upload)],
            )
    shutil.rmtree(draft)
    return settings, turn, adapter


def quietly(step):
    """Show no progress."""


def bring_back(settings, file, replace=False):
    """Restore as the command does."""
    return restore(
        settings,
        file,
        replace=replace,
        known=KNOWN,
        migrate=lambda settings: apply(settings.dsn),
        on_step=quietly,
    )


def contents(folder):
    """Every file's bytes below a folder, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rewritten(source, target, change):
    """Write a backup anew after passing its members, {name: bytes}, through a function."""
    with tarfile.open(source, "r:gz") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    members = change(members) or members
    with tarfile.open(target, "w:gz") as tar:
        for name, raw in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(raw)
            tar.addfile(header, io.BytesIO(raw))
    return target


def change_manifest(members, **fields):
    """Change fields of a backup's manifest."""
    members[MANIFEST] = json.dumps(json.loads(members[MANIFEST]) | fields).encode()


def test_a_lost_home_comes_back_in_another_place(lived_in, new_home, tmp_path):
    """What a company taught its bot outlives the machine."""
    old, turn, adapter = lived_in
    file = tmp_path / "saved.tar.gz"
    written = back_up(old, file, quietly)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert (1 + 2 + 3 + 1 + len(SECRETS), file.stat().st_size) == (written.files, written.bytes)
    saved = {name: contents(old.home / name) for name in ("adapters", "datasets", "uploads")}
    secrets = {name: (old.home / name).read_text() for name in SECRETS}
    shutil.rmtree(old.home)

    new = new_home("new")
    bring_back(new, file)

    assert saved == {name: contents(new.home / name) for name in saved}
    assert secrets == {name: (new.home / name).read_text() for name in SECRETS}
    assert [] == renew_exposed(new.home)
    assert {0o600} == {stat.S_IMODE((new.home / name).stat().st_mode) for name in SECRETS}
    with pgtools.database(new) as dsn, psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT id, question FROM turns").fetchone()
        found = learning.get_adapter(conn, adapter.name)
        registry.verify_unchanged(found)
        uris = {uri for (uri,) in conn.execute("SELECT uri FROM documents")}
        (dataset,) = conn.execute("SELECT path FROM datasets").fetchone()
        entry = audit.list_entries(conn)[0]
        later, _ = learning.next_adapter_name(conn)
    assert (turn.id, "May I return it?") == row
    assert (str(new.adapters / adapter.name), adapter.sha256) == (found.path, found.sha256)
    assert {str(new.home / "uploads" / "Über uns (neu).md"), "/elsewhere/a.md"} == uris
    assert str(new.datasets) == str(Path(dataset).parent)
    assert audit.Action.BACKUP_RESTORED == entry.action
    assert later > adapter.version
    folder = new.adapters / adapter.name
    assert 0o555 == stat.S_IMODE(folder.stat().st_mode)
    assert {0o444} == {stat.S_IMODE((folder / name).stat().st_mode) for name in ADAPTER_FILES}


def test_secrets_that_strangers_may_know_do_not_come_back_with_a_backup(
    lived_in, new_home, tmp_path
):
    """A backup of a home that the older version left holds the password that could be read."""
    old = lived_in[0]
    (old.home / MARKER).unlink()
    back_up(old, tmp_path / "old.tar.gz", quietly)
    new = new_home("new")
    renew_exposed(new.home)  # it was started before
    bring_back(new, tmp_path / "old.tar.gz")

    renewed = renew_exposed(new.home)  # as the next start does

    assert ["admin-password", "session-secret"] == renewed


def test_a_backup_never_overwrites(kept, tmp_path):
    """Yesterday's backup may be the only good one."""
    file = tmp_path / "saved.tar.gz"
    file.write_text("the good one")

    with pytest.raises(InvalidInput, match="exists already"):
        back_up(kept, file, quietly)

    assert "the good one" == file.read_text()
    assert ["saved.tar.gz"] == os.listdir(tmp_path)


def swap_secret(members):
    """A password that somebody knows in place of the saved one."""
    members["secrets/admin-password"] = b"known to me"


def climb(members):
    """A file that would be written outside the home."""
    members["../../evil"] = b"x"


def climb_by_manifest(members):
    """The same, and the manifest agrees."""
    raw = json.loads(members[MANIFEST])
    size, sha256 = 1, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    raw["members"].append({"name": "uploads/../../evil", "size": size, "sha256": sha256})
    members[MANIFEST] = json.dumps(raw).encode()
    members["uploads/../../evil"] = b"x"


def lose_the_dump(members):
    """A backup without its database."""
    del members[DUMP]


def newer(members):
    """A backup of a version that has one more migration."""
    migrations = [*map(list, KNOWN), ["9999_from_the_future.sql", "0" * 64]]
    change_manifest(members, migrations=migrations)


def another_format(members):
    """A backup of a later format."""
    change_manifest(members, format=2)


def broken_dump(members):
    """A database that can't be restored, with a manifest that agrees."""
    import hashlib

    raw = json.loads(members[MANIFEST])
    members[DUMP] = members[DUMP][: len(members[DUMP]) // 2]
    for member in raw["members"]:
        if member["name"] == DUMP:
            member |= {
                "size": len(members[DUMP]),
                "sha256": hashlib.sha256(members[DUMP]).hexdigest(),
            }
    members[MANIFEST] = json.dumps(raw).encode()


@pytest.mark.parametrize(
    "change",
    [swap_secret, climb, climb_by_manifest, lose_the_dump, newer, another_format, broken_dump],
    ids=lambda change: change.__name__,
)
def test_a_changed_backup_is_refused_and_nothing_changes(kept, saved, tmp_path, change):
    """A file that came from elsewhere must not write where it likes, nor half of itself."""
    file = rewritten(saved, tmp_path / "changed.tar.gz", change)

    refused_without_a_trace(kept, file)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "folder"])
def test_a_damaged_file_is_refused_and_nothing_changes(kept, saved, tmp_path, damage):
    """Disks rot; a restore that stops half-way would lose what is still there."""
    file = tmp_path / "damaged.tar.gz"
    raw = bytearray(saved.read_bytes())
    if damage == "cut":
        file.write_bytes(raw[: len(raw) // 2])
    elif damage == "flipped":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    elif damage == "text":
        file.write_bytes(gzip.compress(b"not a backup" * 1000))
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.mkdir()

    refused_without_a_trace(kept, file)


def refused_without_a_trace(settings, file):
    """A restore over this home is refused in one line, and home and database are as before."""
    names = (*SECRETS, "adapters", "datasets", "uploads")
    before = {name: contents(settings.home / name) for name in names[3:]}
    before |= {name: (settings.home / name).read_bytes() for name in SECRETS}

    with pytest.raises((InvalidInput, StackError)) as refused:
        bring_back(settings, file, replace=True)

    assert 1 == len(str(refused.value).splitlines())
    after = {name: contents(settings.home / name) for name in names[3:]}
    after |= {name: (settings.home / name).read_bytes() for name in SECRETS}
    assert before == after
    assert not list(settings.home.rglob(".*restor*"))
    assert not list(settings.home.parent.rglob("evil"))
    with pgtools.database(settings) as dsn, psycopg.connect(dsn) as conn:
        assert (1,) == conn.execute("SELECT count(*) FROM turns").fetchone()
        deeds = {entry.action for entry in audit.list_entries(conn)}
        assert audit.Action.BACKUP_RESTORED not in deeds


def test_what_is_there_is_replaced_only_when_that_is_said(lived_in, tmp_path):
    """A restore into the wrong home would lose a company's conversations."""
    settings, turn, _ = lived_in
    file = tmp_path / "saved.tar.gz"
    back_up(settings, file, quietly)
    (settings.home / "uploads" / "later.md").write_text("came after the backup")
    with pgtools.database(settings) as dsn, psycopg.connect(dsn) as conn:
        make_turn(conn, question="Came after the backup")

    with pytest.raises(InvalidInput, match="--replace"):
        bring_back(settings, file)
    bring_back(settings, file, replace=True)

    assert ["Über uns (neu).md"] == os.listdir(settings.home / "uploads")
    with pgtools.database(settings) as dsn, psycopg.connect(dsn) as conn:
        assert [(turn.id,)] == conn.execute("SELECT id FROM turns").fetchall()


def test_a_database_in_use_is_not_replaced(saved, new_home, dsn):
    """A worker that goes on writing would write into what is being restored."""
    server = new_home("server").model_copy(update={"database_url": dsn})

    with (
        psycopg.connect(dsn, autocommit=True),
        pytest.raises(StackError, match="others use the database"),
    ):
        bring_back(server, saved, replace=True)


def test_a_running_stack_is_not_restored_over(kept, saved):
    """What runs holds old files open and writes new rows."""
    with pgtools.database(kept), pytest.raises(StackError, match="ratchet down"):
        bring_back(kept, saved, replace=True)


def test_a_backup_is_made_while_the_stack_runs(kept, tmp_path):
    """Nobody stops a shop for its backup."""
    with pgtools.database(kept):
        back_up(kept, tmp_path / "saved.tar.gz", quietly)

    assert ["saved.tar.gz"] == os.listdir(tmp_path)


def test_a_backup_stands_in_the_log(lived_in, tmp_path):
    """It holds secrets and customers' words; somebody must be able to ask who took it."""
    settings = lived_in[0]
    back_up(settings, tmp_path / "saved.tar.gz", quietly)

    with pgtools.database(settings) as dsn, psycopg.connect(dsn) as conn:
        [entry] = audit.list_entries(conn)
    assert ("command line", audit.Action.BACKUP_MADE, "saved.tar.gz") == (
        entry.actor,
        entry.action,
        entry.subject,
    )


def test_a_backup_is_made_before_an_upgrade(lived_in, tmp_path):
    """The database of the version before has no log yet."""
    settings = lived_in[0]
    with pgtools.database(settings) as dsn, psycopg.connect(dsn) as conn:
        conn.execute("DROP TABLE audit_log")

    assert back_up(settings, tmp_path / "saved.tar.gz", quietly).files > 0


def test_a_restore_that_was_killed_is_undone_by_the_next(lived_in, tmp_path):
    """Half of the files exchanged, the database not: the rows would name what is gone."""
    settings = lived_in[0]
    before = contents(settings.adapters)
    for killed_at in range(4):
        exchange = exchanged(tmp_path / "none", settings.adapters)
        exchange.__enter__()  # and never left, as after kill -9
        if killed_at % 2:  # killed sooner, with only some moved out
            (settings.adapters / BEFORE / ALL_OUT).unlink()
        put_back([settings.adapters])

        assert before == contents(settings.adapters)


def test_the_password_of_the_database_is_in_no_argument(tmp_path):
    """Every user of a machine can read the arguments of all its processes."""
    env = pgtools.libpq_environment("postgresql://app:s3cret@db:5433/r?sslmode=require")

    wanted = {
        "PGUSER": "app",
        "PGPASSWORD": "s3cret",
        "PGHOST": "db",
        "PGPORT": "5433",
        "PGDATABASE": "r",
        "PGSSLMODE": "require",
    }
    assert wanted == {name: env[name] for name in wanted}
    assert not [name for name in env if name.startswith("RATCHET")]
