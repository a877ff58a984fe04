"""Texts become unit vectors, offline; lengths are counted beyond what the model reads."""

import numpy as np
import pytest

from core.errors import EmbeddingError
from core.settings import Settings
from retrieval.embed import Embedder, get_embedder


@pytest.fixture(scope="module")
def embedder():
    """The packaged MiniLM."""
    return get_embedder(Settings(_env_file=None))


def test_each_text_gives_one_unit_row_in_order(embedder):
    """Row i is stored with chunk i; cosine in SQL expects length one."""
    texts = ["Gift cards never expire.", "", "Parcels take three days. " * 200, "🍳"]

    rows = embedder.passages(texts)

    assert (np.float32, (4, 384)) == (rows.dtype, rows.shape)
    assert pytest.approx(np.ones(4), abs=1e-5) == np.linalg.norm(rows, axis=1)
    assert embedder.query(texts[0]) @ rows[0] > 0.999


def test_no_texts_give_no_rows(embedder):
    """An ingest of unchanged files embeds nothing."""
    assert (0, 384) == embedder.passages([]).shape


def test_what_means_the_same_is_nearer_than_what_does_not(embedder):
    """That is what a search by meaning rests on."""
    question = embedder.query("When does my package get here?")
    near, far = embedder.passages(["Parcels arrive within three days.", "Dry the iron pan well."])

    assert question @ near > question @ far + 0.2


def test_tokens_are_counted_beyond_what_the_model_reads(embedder):
    """A chunk that is too long must be seen as too long."""
    assert 2 == embedder.count_tokens("hello world")
    assert 2000 == embedder.count_tokens("hello world " * 1000)


def test_a_missing_model_is_one_clear_line(tmp_path):
    """A wrong path is the likeliest mistake."""
    with pytest.raises(EmbeddingError, match="RATCHET_EMBEDDING_MODEL"):
        Embedder(str(tmp_path / "nowhere"))
