"""The company's folder: one reader, edits that count at once, faults named by file and line."""

import pytest

from core.company import load_company, read_golden
from core.errors import ConfigurationError
from core.settings import ROOT

SEPARATORS = "\u2028\u2029\x85"
GOOD = '{"question": "Q?", "article": "a.md", "facts": ["x"]}'


@pytest.fixture
def folder(tmp_path):
    """A company with guidelines and nothing else."""
    (tmp_path / "guidelines.md").write_text("Be kind.\n")
    return tmp_path


def test_the_sample_company_has_no_fault():
    """Every newcomer starts from it."""
    company = load_company(ROOT / "examples" / "company")

    assert () == company.problems
    assert "Larkmoor Kitchen" == company.name
    assert [] == [q.article for q in company.golden if not (company.articles / q.article).is_file()]
    assert company.unanswerable
    assert company.suggested


def test_an_edit_of_the_guidelines_counts_from_the_next_question(folder):
    """Nobody restarts a chat for a change of tone."""
    assert "Be kind." == load_company(folder).guidelines
    (folder / "guidelines.md").write_text("Be kind and brief.")
    assert "Be kind and brief." == load_company(folder).guidelines


def test_files_that_did_not_change_are_not_read_again(folder):
    """It is asked for at every question."""
    assert load_company(folder) is load_company(folder)


def test_missing_guidelines_name_the_setting(tmp_path):
    """The first thing to go wrong is a path with a typo."""
    with pytest.raises(ConfigurationError, match="RATCHET_COMPANY"):
        _ = load_company(tmp_path / "nowhere").guidelines


def test_guidelines_of_another_encoding_name_the_setting(folder):
    """An editor of another age saved them."""
    (folder / "guidelines.md").write_bytes("Grüß Gott".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="UTF-8"):
        _ = load_company(folder).guidelines


def test_a_folder_with_guidelines_alone_is_a_company(folder):
    """Golden questions come later."""
    company = load_company(folder)

    assert ("Help", (), (), (), ()) == (
        company.name, company.golden, company.unanswerable, company.suggested, company.problems,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question": "Q?", "article": "a.md"}', "line 3 has no list of texts as `facts`"),
        ('{"question": "Q?", "article": "a.md", "facts": "x"}', "line 3 has no list of texts"),
        ('{"question": "Q?", "article": "a.md", "facts": [3]}', "line 3 has no list of texts"),
        ('{"facts": ["x"], "article": "a.md"}', "line 3 has no text as `question`"),
        ('{"question": "\\ud800", "article": "a", "facts": ["x"]}', "line 3 has no text as"),
        ("{", "line 3 is not JSON"),
        ("[1]", "line 3 is not a JSON object"),
        ('{"question": NaN}', "line 3 is not JSON"),
        ("\xff", "line 3 is not UTF-8"),
    ],
)
def test_a_golden_line_that_cannot_be_used_is_named_and_others_count(tmp_path, line, reason):
    """A typo in the company's file must neither end the run nor go unnoticed."""
    good = f'{{"question": "Q{SEPARATORS}?", "article": "a.md", "facts": ["x"]}}'.encode()
    path = tmp_path / "golden.jsonl"
    path.write_bytes(good + b"\n\n" + line.encode("latin-1") + b"\n" + good)

    questions, problems = read_golden(path)

    assert [1, 4] == [each.line for each in questions]
    assert 1 == len(problems)
    assert f"golden.jsonl {reason}" in problems[0]


def test_a_follow_up_question_keeps_what_was_asked_before(tmp_path):
    """Alone it could not be answered."""
    path = tmp_path / "followups.jsonl"
    path.write_text(GOOD.replace("{", '{"first": "Is it free?", '))

    ((question,), problems) = read_golden(path)

    assert ("Is it free?", ()) == (question.first, problems)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("{", "suggested.json is not JSON"),
        ('{"a": 1}', "suggested.json is not a list"),
        ('["Q?", 3, ""]', "suggested.json: no. 2 is no text"),
    ],
)
def test_a_fault_among_suggested_questions_is_named(folder, raw, problem):
    """The page is shown all the same."""
    (folder / "suggested.json").write_text(raw)

    assert problem in load_company(folder).problems[0]


def test_an_unanswerable_line_that_is_none_is_named(folder):
    """Its number finds it."""
    (folder / "unanswerable.jsonl").write_text('{"question": "Q?"}\n{"answer": "A"}\n')
    company = load_company(folder)

    assert ("Q?",) == company.unanswerable
    assert ("unanswerable.jsonl line 2 has no text as `question`",) == company.problems
