"""A way to search that won an evaluation comes into use by one press, and goes by one more."""

import json
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from core.audit import Action, list_entries
from core.errors import InvalidInput
from retrieval.adoption import adopt, current_options, return_to_settings
from retrieval.comparison import is_better
from retrieval.figures import Comparison, Evaluation
from retrieval.metrics import Difference
from retrieval.options import SearchOptions

BETTER, WORSE = Difference(0.05, 0.02, 0.08, 0.001), Difference(-0.05, -0.08, -0.02, 0.001)


@pytest.fixture
def usual(settings):
    """How the settings say to search."""
    return SearchOptions.of(settings)


def result_of(in_use, other, difference=BETTER):
    """An evaluation's result as its job's row holds it."""
    won = is_better(difference)
    against = Comparison(other.figures, "fused", {}, {"ndcg@10": difference}, "Better.", won)
    found = Evaluation(9, [], in_use.figures, "fused", {}, [], against)
    return json.loads(json.dumps(found.to_json()))


def test_without_an_adoption_the_settings_hold(conn, settings, usual):
    """A fresh installation searches as it is configured."""
    assert usual == current_options(conn, settings)


def test_what_won_is_adopted_and_noted(conn, settings, usual):
    """The figures spoke; nobody has to edit a server's environment to follow them."""
    other, evaluation_id = replace(usual, rrf_k=60, text_weight=1), uuid4()

    adopted = adopt(conn, settings, evaluation_id, result_of(usual, other), actor="admin")

    assert other == adopted == current_options(conn, settings)
    [entry] = list_entries(conn)
    assert ("admin", Action.SEARCH_OPTIONS_CHANGED) == (entry.actor, entry.action)
    assert "rrf_k=60, text_weight=1" == entry.subject
    assert {"evaluation": str(evaluation_id)} == entry.details
    row = conn.execute("SELECT actor, reason, evaluation_id FROM search_options").fetchone()
    assert ("admin", "Better.", evaluation_id) == row


def test_a_setting_that_was_not_adopted_keeps_its_effect(conn, settings, usual):
    """Another model, another threshold: what was adopted decides the order and nothing else."""
    adopt(conn, settings, uuid4(), result_of(usual, replace(usual, rrf_k=60)), actor="admin")
    later = settings.model_copy(update={"rerank_ms": 0.0, "passages_in_prompt": 7})

    assert replace(SearchOptions.of(later), rrf_k=60) == current_options(conn, later)


def test_going_back_is_one_more_row(conn, settings, usual):
    """Nothing that was in use is forgotten."""
    adopt(conn, settings, uuid4(), result_of(usual, replace(usual, rrf_k=60)), actor="admin")

    return_to_settings(conn, settings, actor="admin")

    assert usual == current_options(conn, settings)
    stored = conn.execute("SELECT options FROM search_options ORDER BY id").fetchall()
    assert [({"rrf_k": 60},), ({},)] == stored
    with pytest.raises(InvalidInput, match="as the settings say already"):
        return_to_settings(conn, settings, actor="admin")


@pytest.mark.parametrize("difference", [WORSE, Difference(0.01, -0.02, 0.04, 0.4)])
def test_what_did_not_win_beyond_chance_is_not_adopted(conn, settings, usual, difference):
    """A button that is hidden is no lock: the rule is asked again where it is written."""
    result = result_of(usual, replace(usual, rrf_k=60), difference)

    with pytest.raises(InvalidInput, match="nothing that beats the settings in use now"):
        adopt(conn, settings, uuid4(), result, actor="admin")
    with pytest.raises(InvalidInput, match="nothing that beats the settings in use now"):
        adopt(conn, settings, uuid4(), result | {"against": None}, actor="admin")

    assert usual == current_options(conn, settings)


def test_an_evaluation_from_before_it_was_told_who_won_is_not_adopted(conn, settings, usual):
    """Results of an older version are still shown; they decide nothing."""
    result = result_of(usual, replace(usual, rrf_k=60))
    del result["against"]["won"]

    with pytest.raises(InvalidInput, match="nothing that beats the settings in use now"):
        adopt(conn, settings, uuid4(), result, actor="admin")


def test_an_evaluation_against_what_is_no_longer_in_use_is_refused(conn, settings, usual):
    """It won against another: two winners in a row are not one that beats both."""
    first, second = replace(usual, rrf_k=60), replace(usual, text_weight=1)
    adopt(conn, settings, uuid4(), result_of(usual, first), actor="admin")

    with pytest.raises(InvalidInput, match="evaluate again"):
        adopt(conn, settings, uuid4(), result_of(usual, second), actor="admin")

    assert first == current_options(conn, settings)


def test_what_was_in_use_is_never_changed(conn, settings, usual):
    """When an answer was worse than last week's, one must see what was in use then."""
    adopt(conn, settings, uuid4(), result_of(usual, replace(usual, rrf_k=60)), actor="admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        conn.execute("DELETE FROM search_options")
