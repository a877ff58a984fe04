"""Datasets in the table: of every version it is known whose words stand in them."""

import shutil
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from core import learning
from core.db import Database
from migrations.apply import FOLDER, apply
from tests.builders import ADMIN, ANNA, BEN

OURS = "0008_examples.sql"
ID = str(uuid4())
FIRST_VERSION = {"pairs": [{"id": ID, "rater_id": str(ANNA), "provenance": {}}]}
MANIFESTS = {
    "author": FIRST_VERSION,
    "raters": {
        "pairs": [
            {"id": ID, "rater_id": str(ADMIN), "provenance": {"raters": [str(BEN), str(ANNA)]}}
        ]
    },
    "examples": {"examples": [{"id": ID, "objective": "dpo", "raters": [str(BEN), str(ANNA)]}]},
}


def learned_from(conn, manifest):
    """Store an adapter that learned from a dataset with this manifest, and return its name."""
    dataset_id, name = uuid4(), f"support-{uuid4()}"
    conn.execute(
        "INSERT INTO datasets (id, path, sha256, n_train, n_heldout, manifest) "
        "VALUES (%s, '', '', 8, 8, %s)",
        [dataset_id, Jsonb(manifest)],
    )
    conn.execute(
        "INSERT INTO adapters (name, version, path, sha256, base_model, rank, dataset_id) "
        "VALUES (%s, nextval('adapter_version'), '', '', 'base', 8, %s)",
        [name, dataset_id],
    )
    return name


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_an_adapter_is_tainted_whatever_version_froze_its_dataset(conn, manifest):
    """Ejecting somebody must reach what was learned from them before an upgrade."""
    name = learned_from(conn, manifest)
    learned_from(conn, {"examples": []})
    clean = learning.tainted_adapters(conn)
    learning.eject_rater(conn, ANNA, "test", "")

    assert (set(), {name}) == (clean, learning.tainted_adapters(conn))


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_a_rater_is_known_by_any_dataset(conn, manifest):
    """Their feedback may be gone from the tables; what was frozen stays, and can be ejected."""
    before = learning.is_known_rater(conn, ANNA)
    learned_from(conn, manifest)

    assert (False, True) == (before, learning.is_known_rater(conn, ANNA))
    assert not learning.is_known_rater(conn, uuid4())


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_the_newest_datasets_examples_are_not_new_after_an_upgrade(conn, manifest):
    """Else the first start of a new version would train on the same once more."""
    learned_from(conn, manifest)

    assert {ID} == {str(each) for each in learning.newest_dataset_ids(conn)}


def test_a_database_of_the_version_before_keeps_what_it_knows(empty_dsn, tmp_path):
    """An upgrade in the middle of an ejection must not bring its adapters back."""
    for path in FOLDER.glob("*.sql"):
        if path.name < OURS and path.name != "schema.sql":
            shutil.copy(path, tmp_path)
    apply(empty_dsn, tmp_path)
    with psycopg.connect(empty_dsn) as conn:
        name = learned_from(conn, FIRST_VERSION)
        learning.eject_rater(conn, ANNA, "test", "")

    assert OURS in apply(empty_dsn)

    database = Database(empty_dsn).open()
    with database.connect() as conn:
        assert {name} == learning.tainted_adapters(conn)
    database.close()
