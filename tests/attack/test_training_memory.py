"""A training that wants more memory than it may have."""

import pytest

from core import feedback, learning
from core.attempts import list_attempts
from core.settings import Settings
from core.types import RunState
from tests.builders import ADMIN, make_messages, make_turn
from tests.worker import retrain


@pytest.mark.parametrize("train_memory_gib", [0.1, 1.6])
def test_a_training_without_enough_memory_ends_with_that_reason(
    database, dsn, tmp_path, train_memory_gib
):
    """It must not take the machine's memory from the chat, nor be tried three times."""
    settings = Settings(
        home=tmp_path / "home",
        database_url=dsn,
        vllm_url="http://127.0.0.1:9",
        train_memory_gib=train_memory_gib,
        _env_file=None,
    )
    passage = "[1] Prices\n" + "Each item has a price of its own. " * 180
    with database.connect() as conn:
        for n in range(16):
            messages = make_messages(f"How much is item {n}?", passage)
            turn = make_turn(conn, messages=messages, answer=f"It costs {n} dollars. [1]")
            feedback.add_correction(conn, turn.id, ADMIN, f"Hello! It is {n}. [1]", by_admin=True)
        run_id = learning.request_run(conn, "command").id

    ended = retrain(database, settings)

    with database.connect() as conn:
        run = learning.get_run(conn, run_id)
        [attempt] = list_attempts(conn, run_id)
    assert (RunState.FAILED, 1) == (ended, run.attempt), run.error
    assert f"training needs more than {train_memory_gib:g} GiB of memory; shorten" in run.error
    assert ("failed", run.error) == (attempt.outcome, attempt.reason)
