"""Conversations and turns as stored: whose they are, what supersedes what, what survives."""

from uuid import uuid4

import pytest

from core.conversations import (
    create_conversation,
    delete_conversation,
    list_conversations,
    rename_conversation,
)
from core.errors import NotFound, TurnNotFound
from core.turns import (
    count_turns,
    fail_stale_turns,
    finish_turn,
    get_turn,
    load_turns,
    reassign_turn,
    streaming_adapters,
    turn_owner,
    turn_passages,
)
from core.types import TurnStatus
from tests.builders import ANNA, BEN, make_messages, make_passage, make_turn


def test_a_turn_holds_the_exact_messages_that_were_sent(conn):
    """Learning trains on them; a byte of difference trains on something else."""
    messages = make_messages("¿Cuánto? 🙂 مرحبا", system='A\n\nB \\ "quoted" < & \'')

    turn = make_turn(conn, messages=messages)

    assert messages == get_turn(conn, turn.id).messages


def test_passages_keep_their_ranks_and_scores(conn):
    """An admin must see what the model saw, whatever happened to the article since."""
    passages = [make_passage(1), make_passage(2, similarity=0.5, dense_rank=None)]

    turn = make_turn(conn, passages=passages)

    stored = turn_passages(conn, turn.id)
    assert [1, 2] == [passage.rank for passage in stored]
    assert [0.8, 0.5] == pytest.approx([passage.similarity for passage in stored])
    assert stored[1].dense_rank is None


def test_a_passage_outlives_its_chunk(conn):
    """The article may be replaced between the search and the answer."""
    gone = make_passage(chunk_id=12345, document_id=uuid4())

    turn = make_turn(conn, passages=[gone])

    (stored,) = turn_passages(conn, turn.id)
    assert (None, None, gone.body) == (stored.chunk_id, stored.document_id, stored.body)


def test_an_edited_question_supersedes_all_that_followed(conn):
    """What was said after the edited question answers a question nobody asked."""
    first = make_turn(conn, question="one")
    later = [
        make_turn(conn, conversation_id=first.conversation_id, position=n, question=f"q{n}")
        for n in (1, 2)
    ]

    edited = make_turn(conn, conversation_id=first.conversation_id, position=1, question="new")

    current = load_turns(conn, first.conversation_id, ANNA)
    assert [first.id, edited.id] == [turn.id for turn in current]
    assert all(get_turn(conn, turn.id).superseded_at for turn in later)


def test_a_finished_turn_does_not_change_any_more(conn):
    """A late writer must not overwrite the answer that was rated."""
    turn = make_turn(conn, answer="Within 30 days [1].")

    again = finish_turn(
        conn,
        turn.id,
        answer="something else",
        status=TurnStatus.FAILED,
        first_token_ms=None,
        total_ms=None,
        prompt_tokens=None,
        completion_tokens=None,
    )
    reassign_turn(conn, turn.id, "support-v0009")

    assert ("Within 30 days [1].", TurnStatus.COMPLETE) == (again.answer, again.status)
    assert get_turn(conn, turn.id).adapter is None


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda conn, turn: load_turns(conn, turn.conversation_id, BEN),
        lambda conn, turn: rename_conversation(conn, turn.conversation_id, BEN, "mine"),
        lambda conn, turn: delete_conversation(conn, turn.conversation_id, BEN),
        lambda conn, turn: make_turn(
            conn, owner_id=BEN, conversation_id=turn.conversation_id, position=1
        ),
        lambda conn, turn: load_turns(conn, uuid4(), ANNA),
    ],
    ids=["read", "rename", "delete", "write", "absent"],
)
def test_somebody_elses_conversation_is_as_good_as_absent(conn, forbidden):
    """The same words for both, so that ids can't be probed."""
    turn = make_turn(conn, owner_id=ANNA)

    with pytest.raises(NotFound, match="no conversation"):
        forbidden(conn, turn)


def test_the_list_shows_only_ones_own_and_the_last_used_first(database):
    """That is where a returning customer looks."""
    with database.connect() as conn:
        old = create_conversation(conn, ANNA, "old")
        new = create_conversation(conn, ANNA, "new")
        create_conversation(conn, BEN, "Ben's")
    with database.connect() as conn:
        make_turn(conn, conversation_id=old.id)

        assert [old.id, new.id] == [talk.id for talk in list_conversations(conn, ANNA)]


def test_a_deleted_conversation_is_out_of_its_owners_sight(conn):
    """Deleting must be believable: no list, no turns, no thumbs."""
    turn = make_turn(conn)

    delete_conversation(conn, turn.conversation_id, ANNA)

    assert [] == list_conversations(conn, ANNA)
    with pytest.raises(NotFound):
        load_turns(conn, turn.conversation_id, ANNA)
    with pytest.raises(TurnNotFound):
        turn_owner(conn, turn.id)


def test_a_renamed_conversation_keeps_its_title(conn):
    """The customer's own words beat the first question's."""
    turn = make_turn(conn)

    rename_conversation(conn, turn.conversation_id, ANNA, "My pan")

    assert ["My pan"] == [talk.title for talk in list_conversations(conn, ANNA)]


def test_adapters_of_streaming_turns_count_as_in_use(conn):
    """Unloading one of these would cut an answer off."""
    make_turn(conn, adapter="support-v0001", status=TurnStatus.STREAMING)
    make_turn(conn, adapter="support-v0002")
    make_turn(conn, status=TurnStatus.STREAMING)

    assert {"support-v0001"} == streaming_adapters(conn)


def test_turns_left_by_a_killed_process_are_failed(conn):
    """Else they would hold their adapter in memory for ever."""
    left = make_turn(conn, status=TurnStatus.STREAMING)
    conn.execute("UPDATE turns SET created_at = now() - interval '5 minutes'")
    fresh = make_turn(conn, status=TurnStatus.STREAMING)
    conn.execute("UPDATE turns SET created_at = now() WHERE id = %s", (fresh.id,))

    assert 1 == fail_stale_turns(conn, 120)

    assert TurnStatus.FAILED is get_turn(conn, left.id).status
    assert TurnStatus.STREAMING is get_turn(conn, fresh.id).status


def test_turns_are_counted_by_how_they_ended(conn):
    """The metrics must name every status, at zero too."""
    make_turn(conn)

    assert {"complete": 1, "streaming": 0, "stopped": 0, "failed": 0} == count_turns(conn)


def test_an_unknown_turn_is_said_to_be_unknown(conn):
    """An old link must give one line, not a traceback."""
    with pytest.raises(TurnNotFound, match="no turn"):
        get_turn(conn, uuid4())
