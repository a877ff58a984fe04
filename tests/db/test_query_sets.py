"""A query set is made from what customers liked and admins said; nobody labels by hand."""

import stat
from uuid import uuid4

import numpy as np
import pytest

from core.errors import InvalidInput
from core.feedback import add_correction, decide_correction, record_rating, record_review
from core.learning import eject_rater
from core.types import CorrectionStatus, Rating, Verdict
from retrieval.chunk import Chunk
from retrieval.load import LoadedDocument
from retrieval.queries import read_queries, write_queries
from retrieval.query_sets import MAX_PER_PERSON, queries_from_turns
from retrieval.store import delete_document, replace_document
from tests.builders import ADMIN, ANNA, BEN, make_passage, make_turn


@pytest.fixture
def shop(conn):
    """Three articles, stored; their contents don't matter here."""
    embedding = np.zeros((1, 384), dtype=np.float32)
    embedding[0, 0] = 1
    for name in ("returns", "delivery", "gift-cards"):
        document = LoadedDocument(
            uri=f"/articles/{name}.md",
            title=name.replace("-", " ").title(),
            media_type="text/markdown",
            body_markdown="Some text.",
        )
        chunks = [Chunk(0, (), "Some text.", 3)]
        replace_document(conn, document, "0" * 64, chunks, embedding)
    return conn


def passages(*names):
    return [
        make_passage(rank, uri=f"/articles/{name}.md") for rank, name in enumerate(names, start=1)
    ]


def make_liked(conn, question="How long may I return things?", *, rater=ANNA, **fields):
    turn = make_turn(
        conn, question=question, **{"passages": passages("returns", "delivery"), **fields}
    )
    record_rating(conn, turn.id, rater, Rating.UP)
    conn.commit()  # time stands still within a transaction
    return turn


def found(conn):
    return [(q.question, sorted(q.relevant), q.source) for q in queries_from_turns(conn)]


def test_a_liked_answer_vouches_for_what_it_cites(shop):
    """The second passage was offered too, but the answer didn't need it."""
    make_liked(shop, answer="Within 30 days [1].")

    expected = ("How long may I return things?", ["/articles/returns.md"], "good_turn")
    assert [expected] == found(shop)


@pytest.mark.parametrize("answer", ["Within 30 days.", "Within 30 days [7]."])
def test_an_answer_that_cites_nothing_names_no_article(shop, answer):
    """A guess that pleased is no judgement of the search."""
    make_liked(shop, answer=answer)

    with pytest.raises(InvalidInput, match="no liked answer cites an article"):
        queries_from_turns(shop)


def test_what_one_likes_and_another_dislikes_counts_for_nothing(shop):
    """Where people disagree nothing is known."""
    turn = make_liked(shop)
    record_rating(shop, turn.id, BEN, Rating.DOWN)
    make_liked(shop, "And gifts?")

    assert ["And gifts?"] == [question for question, _, _ in found(shop)]


def test_a_deleted_conversation_and_a_removed_article_leave_no_question(shop):
    """Erased words don't come back, and what is gone can't be found."""
    erased = make_liked(shop, "Erased?")
    sql = "UPDATE conversations SET deleted_at = now() WHERE id = %s"
    shop.execute(sql, (erased.conversation_id,))
    make_liked(shop, "Gone?", answer="Yes [2].")
    delete_document(shop, "help", "/articles/delivery.md")
    make_liked(shop, "Kept?")

    assert ["Kept?"] == [question for question, _, _ in found(shop)]


@pytest.mark.parametrize(
    "note", ["See gift-cards.md.", "Should be `/articles/gift-cards.md`", "Missed!\nGift Cards"]
)
def test_a_reviewed_miss_takes_the_article_that_the_note_names(shop, note):
    """The right article of a miss is not among the passages; only a person can say."""
    turn = make_turn(shop, passages=passages("returns"))
    record_review(shop, turn.id, Verdict.RETRIEVAL_MISS, note, ADMIN)

    expected = ("How long may I return things?", ["/articles/gift-cards.md"], "review")
    assert [expected] == found(shop)


def test_a_word_in_a_note_is_no_article(shop):
    """ "Nothing about gift cards, see returns" names none."""
    turn = make_turn(shop)
    record_review(shop, turn.id, Verdict.KNOWLEDGE_GAP, "Nothing on gift cards, see returns", ADMIN)
    make_liked(shop, "Kept?")

    assert ["Kept?"] == [question for question, _, _ in found(shop)]


def test_an_approved_correction_and_a_fine_answer_vouch_for_their_citations(shop):
    """The admin's word counts, whatever the customer pressed."""
    corrected = make_turn(shop, question="A?", passages=passages("returns", "delivery"))
    record_rating(shop, corrected.id, ANNA, Rating.DOWN)
    add_correction(shop, corrected.id, ADMIN, "In three days [2].", by_admin=True)
    add_correction(shop, corrected.id, ANNA, "Never [1].", by_admin=False)
    fine = make_turn(shop, question="B?", passages=passages("returns"), answer="30 days [1].")
    record_rating(shop, fine.id, ANNA, Rating.DOWN)
    record_review(shop, fine.id, Verdict.ANSWER_FINE, "", ADMIN)

    assert {
        ("A?", ("/articles/delivery.md",), "review"),
        ("B?", ("/articles/returns.md",), "review"),
    } == {(question, tuple(relevant), source) for question, relevant, source in found(shop)}


def test_an_ejected_rater_vouches_for_nothing(shop):
    """Who was taken out of learning must not decide what a good search is either."""
    make_liked(shop, "A?")
    make_liked(shop, "B?", rater=BEN)
    corrected = make_turn(shop, question="C?", passages=passages("gift-cards"))
    said = add_correction(shop, corrected.id, BEN, "With a card [1].", by_admin=False)
    decide_correction(shop, said.id, CorrectionStatus.APPROVED)
    before = {question for question, _, _ in found(shop)}
    eject_rater(shop, BEN, "test", "")

    assert ({"A?", "B?", "C?"}, ["A?"]) == (before, [question for question, _, _ in found(shop)])


def test_a_review_outweighs_a_thumb_on_the_same_question(shop):
    """The same question in other letters counts once."""
    turn = make_turn(shop, question="how long MAY I return things")
    record_review(shop, turn.id, Verdict.RETRIEVAL_MISS, "delivery.md", ADMIN)
    make_liked(shop, "How long may I return things?")

    assert [["/articles/delivery.md"]] == [relevant for _, relevant, _ in found(shop)]


def test_what_was_asked_before_is_kept_only_where_it_is_needed(shop):
    """A file of customers' words holds no more of them than it must."""
    first = make_turn(shop, question="Can I return a pan that I have used?")
    again = {"conversation_id": first.conversation_id}
    make_liked(shop, "And how long?", position=1, **again)
    make_liked(shop, "Do the gift cards of the store ever expire?", position=2, **again)

    previous = {query.question: query.previous for query in queries_from_turns(shop)}

    assert "Can I return a pan that I have used?" == previous["And how long?"]
    assert "" == previous["Do the gift cards of the store ever expire?"]


def test_one_person_gives_at_most_twenty(shop):
    """Whoever clicks all day doesn't decide what good means."""
    for n in range(MAX_PER_PERSON + 5):
        make_liked(shop, f"What does part number {n} cost?")
    make_liked(shop, "How do I pay with a card?", owner_id=uuid4())

    questions = [question for question, _, _ in found(shop)]

    assert MAX_PER_PERSON + 1 == len(questions)
    assert "How do I pay with a card?" in questions
    assert f"What does part number {MAX_PER_PERSON + 4} cost?" in questions


def test_the_file_is_read_back_as_it_was_and_is_the_owners_alone(shop, tmp_path):
    """It goes straight into `ratchet eval retrieval`, and to nobody else."""
    make_liked(shop)
    queries = queries_from_turns(shop)
    path = tmp_path / "made.jsonl"

    write_queries(path, queries)

    assert queries == read_queries(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    with pytest.raises(InvalidInput, match="exists already"):
        write_queries(path, queries)
