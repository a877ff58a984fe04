"""Feedback from files: bad lines are named, good ones kept, nothing stored twice."""

import pytest

from core.audit import Action, list_entries
from core.errors import InvalidInput
from training.import_feedback import import_feedback
from training.signals import Caps, load_signals

CAPS = Caps(per_rater=50, per_address=200)

GOOD = (
    '{"question": "Où? ☕", "answer": "A.", "rating": "down", "correction": "B.",'
    ' "messages": [{"role": "user", "content": "Où? ☕"}]}'
)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"answer": "A.", "rating": "up"}', "question is missing"),
        (b'{"question": 3, "answer": "A.", "rating": "up"}', "question is not a text"),
        (b'{"question": " ", "answer": "A.", "rating": "up"}', "question is empty"),
        (b'{"question": "Q\\u0000", "answer": "A.", "rating": "up"}', "can't be stored"),
        (b'{"question": "Q\\ud800", "answer": "A.", "rating": "up"}', "can't be stored"),
        (b'{"question": "Q", "answer": "A.", "rating": "meh"}', 'must be "up" or "down"'),
        (b'{"question": "Q", "answer": "A.", "rating": "up", "stars": 5}', "unknown fields"),
        (
            b'{"question": "Q", "answer": "A.", "rating": "up", "correction": "B."}',
            "needs the rating down",
        ),
        (
            b'{"question": "Q", "answer": "A.", "rating": "up", "messages": [{"role": "x"}]}',
            "each has a role",
        ),
        (
            b'{"question": "Q", "answer": "A.", "rating": "up", "messages": '
            b'[{"role": "assistant", "content": "A."}]}',
            "must end with the user",
        ),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_are_kept(database, settings, tmp_path, line, reason):
    """One typo in ten thousand lines must not cost the others, nor go unnoticed."""
    path = tmp_path / "feedback.jsonl"
    path.write_bytes(b"\n" + line + b"\n" + GOOD.encode() + b"\n")

    report = import_feedback(database, settings, path)

    assert (1, 0) == (report.n_imported, report.n_known)
    [problem] = report.problems
    assert 2 == problem.line
    assert reason in problem.reason


def test_imported_feedback_can_be_learnt_from_and_is_stored_once(database, settings, tmp_path):
    """A second import of the same file changes nothing."""
    path = tmp_path / "feedback.jsonl"
    path.write_text(GOOD, encoding="utf-8")
    first = import_feedback(database, settings, path, approved=True)
    again = import_feedback(database, settings, path, approved=True)

    with database.connect() as conn:
        [signals] = load_signals(conn, CAPS)
        logged = [entry for entry in list_entries(conn) if entry.action is Action.FEEDBACK_IMPORTED]
    assert (1, 1) == (first.n_imported, first.n_approved)
    assert (0, 1, 0) == (again.n_imported, again.n_known, again.n_approved)
    assert ("A.", ["B."]) == (signals.answer.answer, [c.said.body for c in signals.corrections])
    assert {"imported": 1, "approved": 1} == logged[-1].details


def test_imported_corrections_wait_for_a_review_unless_the_team_has_given_it(
    database, settings, tmp_path
):
    """A file may hold what strangers wrote; importing it is no approval."""
    path = tmp_path / "feedback.jsonl"
    path.write_text(GOOD, encoding="utf-8")
    import_feedback(database, settings, path)
    with database.connect() as conn:
        before = load_signals(conn, CAPS)
    import_feedback(database, settings, path, approved=True)

    with database.connect() as conn:
        assert ([], 1) == (before, len(load_signals(conn, CAPS)))


def test_an_import_never_overrules_an_admins_no(database, settings, tmp_path):
    """What was rejected at the desk stays so, whatever a file says."""
    path = tmp_path / "feedback.jsonl"
    path.write_text(GOOD, encoding="utf-8")
    import_feedback(database, settings, path)
    with database.connect() as conn:
        conn.execute("UPDATE corrections SET status = 'rejected'")

    report = import_feedback(database, settings, path, approved=True)

    with database.connect() as conn:
        assert (0, []) == (report.n_approved, load_signals(conn, CAPS))


def test_a_missing_file_is_named(database, settings, tmp_path):
    """The command then ends with one clear line."""
    with pytest.raises(InvalidInput, match="can't be read"):
        import_feedback(database, settings, tmp_path / "nowhere.jsonl")
