"""`ratchet eval retrieval` tells how often the right article is found, leg by leg."""

import json
from dataclasses import asdict, replace

import pytest

from core.errors import InvalidInput
from core.feedback import record_rating
from core.types import Rating
from retrieval.evaluate import evaluate, run_job
from retrieval.ingest import ingest
from retrieval.metrics import Difference
from retrieval.options import Scope, SearchOptions
from retrieval.queries import read_queries
from retrieval.recall_picture import draw_recall
from tests.builders import ANNA, make_passage, make_turn


@pytest.fixture
def shop(database, embedder, tmp_path):
    """Three articles, ingested."""
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "returns.md").write_text("# Returns\n\nYou can return things within 30 days.\n")
    (folder / "delivery.md").write_text("# Delivery\n\nParcels arrive within 3 days.\n")
    (folder / "gifts.md").write_text("# Gift cards\n\nGift cards never expire.\n")
    ingest(database, embedder, [folder])
    return database


IN_USE = SearchOptions(limit=1, rerank_ms=80)


def judge(shop, embedder, path, **more):
    return evaluate(shop, embedder, read_queries(path), IN_USE, Scope(), **more)


def query_file(folder, *rows):
    path = folder / "queries.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_each_leg_and_the_fusion_are_judged(shop, embedder, tmp_path):
    """Only side by side one sees which leg is weak."""
    path = query_file(
        tmp_path,
        {"question": "Do gift cards expire?", "article": "gifts.md"},
        {"question": "When does my parcel arrive?", "relevant": ["articles/delivery.md"]},
        {"question": "And how long?", "first": "Can I return things?", "article": "returns.md"},
    )

    found = judge(shop, embedder, path)
    draw_recall(found, tmp_path / "new" / "recall.png")

    assert ["dense", "text", "fused", "reranked"] == list(found.legs)
    assert (3, []) == (found.n_queries, found.unknown)
    assert 1.0 == found.legs["fused"].metrics["recall@1"].value
    assert 1.0 == found.legs["fused"].metrics["mrr"].value
    assert 10 == len(found.legs["text"].recall_curve)
    assert (tmp_path / "new" / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_an_article_that_is_not_ingested_is_named_and_counts_as_missed(shop, embedder, tmp_path):
    """A renamed file would else look like a bad search."""
    path = query_file(tmp_path, {"question": "Do gift cards expire?", "article": "gone.md"})

    found = judge(shop, embedder, path)

    assert ["gone.md"] == found.unknown
    assert 0.0 == found.legs["fused"].metrics["recall@10"].value


def test_a_miss_tells_what_was_wanted_and_what_came_first(shop, embedder, tmp_path):
    """Whoever mends an article must know which, and which other was taken for it."""
    path = query_file(
        tmp_path,
        {"question": "Do gift cards expire?", "article": "gifts.md"},
        {"question": "Do gift cards expire?", "article": "returns.md", "previous": "Hi"},
    )

    [miss] = judge(shop, embedder, path).misses

    assert ("Do gift cards expire?", "Hi") == (miss.question, miss.previous)
    assert [str(tmp_path / "articles" / "returns.md")] == miss.wanted
    assert str(tmp_path / "articles" / "gifts.md") == miss.found[0]
    assert 1 < miss.rank <= 3


def test_two_settings_are_compared_on_the_same_questions(shop, embedder, tmp_path):
    """A setting is chosen by figures, and a few questions choose none."""
    path = query_file(
        tmp_path,
        {"question": "Do gift cards expire?", "article": "gifts.md"},
        {"question": "When does my parcel arrive?", "article": "delivery.md"},
    )
    steps = []

    found = judge(
        shop,
        embedder,
        path,
        against=replace(IN_USE, rrf_k=60, text_weight=1),
        on_progress=lambda *step: steps.append(step),
    )

    against = found.against
    settings = {"n_candidates": 50, "rrf_k": 60, "text_weight": 1, "rerank_ms": 80}
    assert settings == against.settings
    assert found.legs.keys() == against.legs.keys()
    assert Difference(value=0.0, low=0.0, high=0.0, p=1.0) == against.differences["ndcg@10"]
    assert "Both rank the right articles of these 2 questions the same." == against.verdict
    assert not against.won
    assert [(1, 2, "searching"), (2, 2, "searching")] == steps
    stored = json.loads(json.dumps(found.to_json()))
    assert {**asdict(against), "legs": stored["against"]["legs"]} == stored["against"]
    curve = against.legs["fused"].recall_curve
    assert curve == stored["against"]["legs"]["fused"]["recall_curve"]
    assert 1.0 == stored["legs"]["fused"]["mrr"]["value"]


def test_the_settings_in_use_are_not_compared_with_themselves(shop, embedder, tmp_path):
    """It would only look like a result."""
    path = query_file(tmp_path, {"question": "Do gift cards expire?", "article": "gifts.md"})

    with pytest.raises(InvalidInput, match="in use already"):
        judge(shop, embedder, path, against=IN_USE)


def no_progress(done, of, what):
    """Nobody watches."""


def test_a_job_evaluates_what_people_judged(shop, settings, tmp_path):
    """Nobody has to label a question by hand to see the search miss."""
    uri = str(tmp_path / "articles" / "gifts.md")
    with shop.connect() as conn:
        turn = make_turn(conn, question="Do gift cards expire?", passages=[make_passage(uri=uri)])
        record_rating(conn, turn.id, ANNA, Rating.UP)

    result = run_job(shop, settings, {"queries": "turns", "against": {"rrf_k": 60}}, no_progress)

    assert ("turns", 1) == (result["queries"], result["n_queries"])
    assert 1.0 == result["legs"]["fused"]["recall@1"]["value"]
    assert 60 == result["against"]["settings"]["rrf_k"]
    json.dumps(result)


def test_a_jobs_result_holds_no_customers_words(shop, settings):
    """It stays when the conversation is erased."""
    with shop.connect() as conn:
        uri, wanted = (
            str(row[0]) for row in conn.execute("SELECT uri FROM documents ORDER BY uri LIMIT 2")
        )
        passage = make_passage(uri=wanted)
        turn = make_turn(conn, question="When does my parcel arrive?", passages=[passage])
        record_rating(conn, turn.id, ANNA, Rating.UP)

    result = run_job(shop, settings, {"queries": "turns"}, no_progress)

    [miss] = result["misses"]
    assert (str(turn.id), [wanted]) == (miss["turn_id"], miss["wanted"])
    assert uri == miss["found"][0]
    assert "parcel" not in json.dumps(result)


def test_a_job_reads_no_file_from_elsewhere(shop, settings):
    """A page may ask for the company's questions, not for any file of the machine."""
    golden = settings.company / "golden.jsonl"

    assert 60 == run_job(shop, settings, {"queries": str(golden)}, no_progress)["n_queries"]
    for path in ("/etc/passwd", f"{golden.parent}/../../pyproject.toml", None):
        with pytest.raises(InvalidInput, match="is not in the company's folder or the home"):
            run_job(shop, settings, {"queries": path}, no_progress)


@pytest.mark.parametrize(
    "line",
    [
        '{"question": " ", "article": "a"}',
        '{"question": "a", "relevant": "b"}',
        '{"question": "a", "relevant": []}',
        "{oops",
        "[1]",
        '{"question": "a"}',
        '{"question": 3, "article": "a"}',
        "null",
    ],
)
def test_a_malformed_line_is_named(tmp_path, line):
    """In a long file one must know where to look."""
    path = query_file(tmp_path, {"question": "a", "article": "b"}, line)

    with pytest.raises(InvalidInput, match="line 2"):
        read_queries(path)


def test_a_file_without_questions_is_refused(tmp_path):
    """An average over nothing is no figure."""
    with pytest.raises(InvalidInput, match="no questions"):
        read_queries(query_file(tmp_path))
    with pytest.raises(InvalidInput, match="can't be read"):
        read_queries(tmp_path / "missing.jsonl")
