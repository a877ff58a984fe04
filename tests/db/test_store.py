"""Documents are replaced whole, and one statement finds chunks by meaning and by words."""

from uuid import uuid4

import numpy as np
import pytest

from core.errors import NotFound
from retrieval.chunk import Chunk
from retrieval.hybrid import hybrid_search, word_rarities
from retrieval.load import LoadedDocument
from retrieval.options import Scope, SearchOptions
from retrieval.store import (
    CutDocument,
    delete_document,
    document_hashes,
    fold,
    get_document,
    replace_document,
    replace_documents,
)
from tests.builders import make_passage, make_turn

OPTIONS = SearchOptions(limit=3)


def unit(*leading):
    """A unit vector of 384 numbers that starts with `leading`."""
    vector = np.zeros(384, dtype=np.float32)
    vector[: len(leading)] = leading
    return vector / np.linalg.norm(vector)


def stored(
    conn,
    bodies,
    *,
    uri="/a.md",
    title="Returns",
    embeddings=None,
    collection="help",
    audience="everyone",
):
    chunks = [Chunk(n, ("Time",), body, len(body.split())) for n, body in enumerate(bodies)]
    if embeddings is None:
        embeddings = [unit(1)] * len(bodies)
    document = LoadedDocument(uri, title, "text/markdown", "\n\n".join(bodies))
    return replace_document(
        conn,
        document,
        f"hash of {bodies}",
        chunks,
        np.array(embeddings),
        collection=collection,
        audience=audience,
    )


def found(conn, text, embedding=None, *, collection="help", limit=10):
    vector = unit(0, 1) if embedding is None else embedding
    scope = Scope(collections=(collection,))
    passages = hybrid_search(conn, vector, text, OPTIONS, scope, limit=limit)
    return [passage.body for passage in passages if passage.text_rank or embedding is not None]


def lexeme_counts(conn):
    sql = "SELECT lexeme, n_chunks FROM lexeme_counts WHERE n_chunks <> 0"
    return dict(conn.execute(sql).fetchall())


def recounted(conn):
    sql = """
        SELECT lexeme, count(*)
        FROM (SELECT (unnest(lexemes)).lexeme FROM chunks UNION ALL SELECT '' FROM chunks) words
        GROUP BY lexeme
    """
    return dict(conn.execute(sql).fetchall())


def test_documents_stored_together_keep_their_own_chunks(conn):
    """A batch is only quicker; each article still answers for itself, old and new ones alike."""
    known = stored(conn, ["Old."], uri="/b.md")
    cut = [
        CutDocument(LoadedDocument(uri, uri, "text/plain", body), "hash", [Chunk(0, (), body, 1)])
        for uri, body in (("/a.md", "First."), ("/b.md", "Second."))
    ]
    vectors = np.array([unit(1), unit(0, 1)])

    first, second = replace_documents(conn, cut, vectors, collection="help", audience="staff")

    sql = "SELECT d.id, c.body, audience FROM chunks c JOIN documents d ON d.id = document_id"
    rows = {(first, "First.", "staff"), (second, "Second.", "staff")}
    assert known == second
    assert rows == set(conn.execute(sql).fetchall())
    assert recounted(conn) == lexeme_counts(conn)


def test_a_changed_document_replaces_its_chunks_and_keeps_its_id(conn):
    """Old text must not be cited, and old answers must still open the document."""
    first = stored(conn, ["Thirty days.", "It is free."])
    second = stored(conn, ["Sixty days."])

    assert first == second
    assert ["Sixty days."] == found(conn, "days")
    assert 1 == get_document(conn, first).n_chunks


def test_answers_given_from_a_replaced_chunk_keep_its_text(conn):
    """A stored turn shows what the model saw, whatever became of the article."""
    document_id = stored(conn, ["Thirty days."])
    [passage] = hybrid_search(conn, unit(1), "days", OPTIONS, Scope(), limit=1)
    assert document_id == passage.document_id
    turn = make_turn(conn, passages=[make_passage(chunk_id=passage.chunk_id, body=passage.body)])

    stored(conn, ["Sixty days."])

    row = conn.execute(
        "SELECT chunk_id, body FROM turn_passages WHERE turn_id = %s", (turn.id,)
    ).fetchone()
    assert (None, "Thirty days.") == row


def test_a_deleted_document_is_found_no_more(conn):
    """What is withdrawn must not be answered from."""
    stored(conn, ["Thirty days."])

    assert delete_document(conn, "help", "/a.md")
    assert not delete_document(conn, "help", "/a.md")
    assert [] == found(conn, "days")
    assert {} == document_hashes(conn, "help")


def test_word_counts_stay_exact_through_replacing_and_deleting(conn):
    """Ranking weighs each word by how rare it is; wrong counts would drift unseen."""
    stored(conn, ["Thirty days of waiting.", "It's C:\\temp 'quoted'."])
    stored(conn, ["Sixty days."], uri="/b.md")
    stored(conn, ["Ninety days."])
    assert recounted(conn) == lexeme_counts(conn)

    delete_document(conn, "help", "/a.md")
    delete_document(conn, "help", "/b.md")
    assert {} == lexeme_counts(conn)


def test_rare_words_weigh_more_than_common_ones(conn):
    """ "How long is the warranty?" is about the warranty, not about how long things are."""
    long_ones = [f"How long is delivery number {n}, how long?" for n in range(8)]
    stored(conn, [*long_ones, "The warranty is here."], title="All")

    passages = hybrid_search(conn, unit(1), "how long is the warranty", OPTIONS, Scope())

    assert ["The warranty is here."] == [each.body for each in passages if each.text_rank == 1]


def test_a_word_of_the_question_that_no_article_has_does_no_harm(conn):
    """People use other words than articles do; any one in common is enough."""
    stored(conn, ["Parcels arrive within three days."])

    assert ["Parcels arrive within three days."] == found(conn, "parcels zweifelsohne arrive")


@pytest.mark.parametrize("question", ["café", "cafe", "CAFÉ", "cafe\u0301"])
def test_accents_are_ignored(conn, question):
    """Few customers type the accents that articles have."""
    stored(conn, ["The café opens at nine."])

    assert ["The café opens at nine."] == found(conn, question)


@pytest.mark.parametrize(
    "question", ["", "the", "it's 'quoted' & | ! <-> :* (", "C:\\temp\\", "-- ; DROP TABLE", "😀"]
)
def test_any_punctuation_can_be_searched(conn, question):
    """A customer's question is not a query language."""
    stored(conn, ["It's in C:\\temp, 'quoted'."])

    passages = hybrid_search(conn, unit(1), question, OPTIONS, Scope(), limit=3)

    assert ["It's in C:\\temp, 'quoted'."] == [passage.body for passage in passages]


def test_the_nearest_vector_comes_first_when_no_word_matches(conn):
    """Meaning must find what words can't."""
    stored(conn, ["far", "near"], embeddings=[unit(0, 1), unit(1, 0.1)])

    passages = hybrid_search(conn, unit(1), "unrelated", OPTIONS, Scope(), limit=2)

    assert [("near", 1, 1, None), ("far", 2, 2, None)] == [
        (each.body, each.rank, each.dense_rank, each.text_rank) for each in passages
    ]
    assert passages[0].similarity == pytest.approx(1 / np.sqrt(1.01), abs=1e-3)


def test_what_both_legs_find_beats_what_one_finds(conn):
    """Agreement of two unlike methods is the best sign of relevance."""
    embeddings = [unit(1, 0.1), unit(1, 0.2), unit(0, 1)]
    stored(conn, ["nearest", "near warranty", "warranty"], embeddings=embeddings)

    assert "near warranty" == found(conn, "warranty", unit(1))[0]


def test_passages_carry_what_a_citation_shows(conn):
    """The page shows title and headings, and opens the document."""
    document_id = stored(conn, ["Thirty days."])

    [passage] = hybrid_search(conn, unit(1), "days", OPTIONS, Scope(), limit=3)

    assert (1, "/a.md", "Returns", "Time", document_id) == (
        *(passage.rank, passage.uri, passage.title, passage.heading),
        passage.document_id,
    )


def test_collections_do_not_mix(conn):
    """Internal notes must not reach customers."""
    stored(conn, ["Public days."])
    stored(conn, ["Internal days."], collection="internal")

    assert ["Public days."] == found(conn, "days", unit(1))
    assert {"/a.md"} == document_hashes(conn, "internal").keys()


def test_a_small_collection_beside_a_large_one_still_fills_the_list(conn):
    """A filter must not eat the index's candidates: k are returned when k exist."""
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(2000, 384)).astype(np.float32)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    stored(conn, [f"crowd {n}" for n in range(2000)], embeddings=crowd)
    stored(conn, [f"few {n}" for n in range(20)], embeddings=[unit(1)] * 20, collection="few")
    conn.execute("SET LOCAL enable_seqscan = off")

    few = Scope(collections=("few",))
    passages = hybrid_search(conn, crowd[0], "nothing", OPTIONS, few, limit=10)

    assert 10 == len(passages)


def test_a_document_opens_with_its_whole_text(conn):
    """A citation leads to the source."""
    document_id = stored(conn, ["Thirty days.", "It is free."])

    document = get_document(conn, document_id)

    assert ("Returns", "Thirty days.\n\nIt is free.", 2) == (
        *(document.title, document.body),
        document.n_chunks,
    )


def test_an_unknown_document_is_not_found(conn):
    """A link to a deleted article gets one clear line."""
    with pytest.raises(NotFound, match="no document"):
        get_document(conn, uuid4())


def test_folding_drops_accents_and_keeps_letters():
    """Both sides of a comparison are folded alike."""
    assert "creme brulee, naive 1/2" == fold("crème brûlée, naïve ½").replace("\u2044", "/")


def test_only_its_audience_finds_a_document(conn):
    """What is written for the staff must not reach a customer."""
    stored(conn, ["The alarm code is 4711."], uri="/staff.md", audience="staff")
    stored(conn, ["The alarm rings at night."], uri="/all.md")

    def bodies(audiences):
        scope = Scope(audiences=tuple(audiences))
        passages = hybrid_search(conn, unit(1), "alarm", OPTIONS, scope, limit=9)
        return {passage.body for passage in passages}

    assert {"The alarm rings at night."} == bodies(["everyone"])
    assert {"The alarm rings at night.", "The alarm code is 4711."} == bodies(["everyone", "staff"])


def test_a_filter_that_few_pass_still_finds_as_many_as_there_are(conn):
    """An index that stops looking early would answer a small audience with nothing."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(2_000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored(conn, [f"word{n}" for n in range(1_980)], uri="/all.md", embeddings=vectors[:1_980])
    stored(
        conn,
        [f"rare{n}" for n in range(20)],
        uri="/staff.md",
        embeddings=vectors[1_980:],
        audience="staff",
    )
    conn.execute("SET LOCAL enable_seqscan = off")
    conn.execute("ANALYZE chunks, documents")

    staff = Scope(audiences=("staff",))
    passages = hybrid_search(conn, vectors[0], "nothing", OPTIONS, staff, limit=10)

    assert 10 == len(passages)
    assert all(passage.body.startswith("rare") for passage in passages)


def test_rare_words_tell_more_than_common_ones(conn):
    """What a question is about is said by its rare words."""
    stored(conn, ["the pan is black", "the pan is white", "the lid is white"])

    rarity = word_rarities(conn, ["lid", "pan", "the", "kettle"])

    assert rarity["kettle"] > rarity["lid"] > rarity["pan"] > rarity["the"] > 0
