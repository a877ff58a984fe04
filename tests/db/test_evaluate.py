"""`ratchet eval retrieval` tells how often the right article is found, leg by leg."""

import json

import pytest

from core.errors import InvalidInput
from retrieval.evaluate import evaluate_file, read_queries
from retrieval.ingest import ingest


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

    result = evaluate_file(shop, embedder, path, picture=tmp_path / "new" / "recall.png")

    assert {"dense", "text", "fused"} == result["legs"].keys()
    assert (3, []) == (result["n_queries"], result["unknown"])
    assert 1.0 == result["legs"]["fused"]["recall@1"]["value"]
    assert 1.0 == result["legs"]["fused"]["mrr"]["value"]
    assert 10 == len(result["legs"]["text"]["recall_curve"])
    assert (tmp_path / "new" / "recall.png").read_bytes().startswith(b"\x89PNG")
    json.dumps(result)


def test_an_article_that_is_not_ingested_is_named_and_counts_as_missed(shop, embedder, tmp_path):
    """A renamed file would else look like a bad search."""
    path = query_file(tmp_path, {"question": "Do gift cards expire?", "article": "gone.md"})

    result = evaluate_file(shop, embedder, path)

    assert ["gone.md"] == result["unknown"]
    assert 0.0 == result["legs"]["fused"]["recall@10"]["value"]


@pytest.mark.parametrize(
    "line", ["{oops", "[1]", '{"question": "a"}', '{"question": 3, "article": "a"}', "null"]
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
