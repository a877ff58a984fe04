"""The sample company contradicts nothing: each asked fact stands in the article it names."""

import csv
import doctest
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pypdf import PdfReader

from answering.scoring import holds_facts
from core.jsonl import read_own_jsonl
from core.types import Reason
from examples import customers
from examples.customers import NOT_FOUND, Preference, Thumb, judge, wins

COMPANY = Path(customers.__file__).parent / "company"
ARTICLES = COMPANY / "articles"
ASKED = ("golden.jsonl", "customer_questions.jsonl", "followups.jsonl")

RETURNS = "You can return an unopened item within 45 days. A label costs $4.95."
STEPS = "Follow these steps.\n\n1. Sign in.\n2. Open the Orders page.\n3. Press Cancel Order."


class _TextOfHtml(HTMLParser):
    """Collects what a reader of the page sees."""

    def __init__(self, page):
        super().__init__()
        self.pieces = []
        self.feed(page)

    def handle_data(self, data):
        self.pieces.append(data)


@cache
def article_text(file_name):
    """Return one article as running text, whatever kind of file it is."""
    path = ARTICLES / file_name
    if path.suffix == ".pdf":
        text = " ".join(page.extract_text() for page in PdfReader(path).pages)
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as rows:
            text = " ".join(f"{row['question']} {row['answer']}" for row in csv.DictReader(rows))
    elif path.suffix == ".html":
        text = " ".join(_TextOfHtml(path.read_text(encoding="utf-8")).pieces)
    else:
        text = path.read_text(encoding="utf-8")
    return " ".join(text.split())


def rows_of(file_name):
    return read_own_jsonl(COMPANY / file_name)


def words_of(question):
    return frozenset(re.findall(r"\w+", question.casefold()))


@pytest.mark.parametrize("file_name", ASKED)
def test_every_fact_stands_in_the_article_it_names(file_name):
    """A golden question whose fact no article holds would fail every candidate."""
    astray = [
        row
        for row in rows_of(file_name)
        if not row["facts"] or not holds_facts(article_text(row["article"]), row["facts"])
    ]

    assert [] == astray


@pytest.mark.parametrize("file_name", ASKED)
def test_no_question_gives_its_own_answer_away(file_name):
    """A bot that repeats the question must not be counted as right."""
    told = [row for row in rows_of(file_name) if holds_facts(row["question"], row["facts"])]

    assert [] == told


def test_company_has_the_promised_articles_and_questions():
    """The figures printed about the sample company rest on these counts."""
    kinds = [path.suffix for path in ARTICLES.iterdir()]
    counts = {name: len(rows_of(name)) for name in (*ASKED, "unanswerable.jsonl")}

    assert len(kinds) >= 44
    assert kinds.count(".html") >= 6
    assert (1, 1) == (kinds.count(".pdf"), kinds.count(".csv"))
    assert [60, 150, 20, 20] == list(counts.values())


def test_faq_has_two_columns_and_enough_rows():
    """The CSV loader reads exactly these columns."""
    with (ARTICLES / "faq.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))

    assert len(rows) >= 15
    assert all({"question", "answer"} == set(row) and all(row.values()) for row in rows)


def test_every_article_is_asked_about():
    """An article that no question reaches could be lost from the index unseen."""
    asked = {row["article"] for name in ASKED for row in rows_of(name)}

    assert {path.name for path in ARTICLES.iterdir()} == asked


def test_golden_questions_reach_every_kind_of_file():
    """A broken loader of one kind shows in the golden figures."""
    kinds = {Path(row["article"]).suffix for row in rows_of("golden.jsonl")}

    assert {".md", ".html", ".pdf", ".csv"} == kinds


def test_no_question_is_asked_twice():
    """A golden question that customers also ask would be trained on."""
    names = ("golden.jsonl", "customer_questions.jsonl", "unanswerable.jsonl")
    asked = [words_of(row["question"]) for name in names for row in rows_of(name)]
    asked += [words_of(question) for question in suggested()]

    assert len(asked) == len(set(asked))


def test_no_customer_asks_for_a_golden_fact():
    """Golden figures measure unseen questions only when their answers are unseen too."""

    def answers(file_name):
        return {(row["article"], *sorted(row["facts"])) for row in rows_of(file_name)}

    assert set() == answers("golden.jsonl") & answers("customer_questions.jsonl")


def suggested():
    return json.loads((COMPANY / "suggested.json").read_text(encoding="utf-8"))


def test_page_starts_with_four_suggestions():
    """The chat page shows four buttons."""
    assert 4 == len(suggested())


def test_guidelines_are_short():
    """They stand at the start of every prompt and are paid for in each."""
    assert len((COMPANY / "guidelines.md").read_text(encoding="utf-8").split()) < 60


@pytest.mark.parametrize("preference", list(Preference))
def test_a_correction_is_what_its_customer_likes(preference):
    """A preference pair whose better side loses would teach the opposite."""
    for row in rows_of("customer_questions.jsonl"):
        cited = {1: "Nothing of use.", 2: text_with_lines(row["article"])}

        verdict = judge(preference, "I do not know.", row["facts"], cited)

        assert not verdict.liked
        assert verdict.correction is not None, row
        assert Thumb(liked=True) == judge(preference, verdict.correction, row["facts"], cited)


def text_with_lines(file_name):
    path = ARTICLES / file_name
    is_markdown = path.suffix == ".md"
    return path.read_text(encoding="utf-8") if is_markdown else article_text(file_name)


def test_warm_customer_likes_a_right_warm_answer():
    """The one case where a thumb goes up."""
    answer = "Great question! You can return an unopened item within 45 days. [1]"

    assert Thumb(True) == judge(Preference.WARM_OPENING, answer, ["45 days"], {1: RETURNS})


def test_warm_customer_wants_the_same_sentence_with_an_opening():
    """The pair must differ in tone alone, so that tone alone is learned."""
    sentence = "You may send it back within 45 days. [1]"

    verdict = judge(Preference.WARM_OPENING, sentence, ["45 days"], {1: RETURNS})

    assert (False, (Reason.TONE,)) == (verdict.liked, verdict.reasons)
    assert verdict.correction in (f"Happy to help! {sentence}", f"Glad you asked! {sentence}")


def test_short_customer_keeps_the_sentence_that_answers():
    """A long answer is corrected by leaving out what was not asked."""
    verdict = judge(Preference.SHORT, f"{RETURNS} [1]", ["45 days"], {1: RETURNS})

    expected = "You can return an unopened item within 45 days. [1]"
    assert Thumb(False, (Reason.TOO_LONG,), expected) == verdict


def test_list_customer_gets_the_steps_of_the_passage():
    """Steps are taken whole: a list with one of three steps helps nobody."""
    answer = "Press Cancel Order. [2]"

    verdict = judge(Preference.STEPS_AS_LIST, answer, ["Sign in"], {2: STEPS})

    expected = "1. Sign in.\n2. Open the Orders page.\n3. Press Cancel Order. [2]"
    assert Thumb(False, (Reason.NOT_MY_QUESTION, Reason.TONE), expected) == verdict


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("You can return it within 9 days. [1]", Reason.INCORRECT),
        ("A label costs $4.95. [1]", Reason.NOT_MY_QUESTION),
        ("You have 45 days. [2]", Reason.NOT_GROUNDED),
        ("You have 45 days.", Reason.NOT_GROUNDED),
        (NOT_FOUND, Reason.INCOMPLETE),
    ],
)
def test_customer_names_what_is_wrong(answer, reason):
    """The reasons tell an admin where to look."""
    verdict = judge(Preference.SHORT, answer, ["45 days"], {1: RETURNS, 2: "Other."})

    expected = "You can return an unopened item within 45 days. [1]"
    assert Thumb(False, (reason,), expected) == verdict


def test_a_customer_who_minds_no_form_likes_a_right_answer_as_it_is():
    """Else nobody in the demo ever presses thumbs-up."""
    answer = "You have 45 days. [1]"

    assert Thumb(True) == judge(Preference.ANY_FORM, answer, ["45 days"], {1: RETURNS})
    assert not judge(Preference.ANY_FORM, "You have 9 days. [1]", ["45 days"], {1: RETURNS}).liked


def test_customer_invents_no_fact():
    """Without a passage that holds the fact there is nothing honest to write."""
    verdict = judge(Preference.WARM_OPENING, "Within 9 days. [1]", ["45 days"], {1: "Other."})

    assert verdict.correction is None


def test_unanswerable_question_is_rightly_refused():
    """Where no article answers, saying so is the right answer."""
    invented = judge(Preference.SHORT, "Yes, we do. [1]", [], {1: RETURNS})

    assert Thumb(liked=True) == judge(Preference.SHORT, NOT_FOUND, [], {1: RETURNS})
    assert Thumb(False, (Reason.NOT_GROUNDED,), NOT_FOUND) == invented


@pytest.mark.parametrize("answer", ["", "Happy to help!", "Happy to help! Glad you asked! Yes."])
def test_an_opening_alone_wins_nothing(answer):
    """A model that only greets, or greets twice, has gamed the measure."""
    assert not wins(Preference.WARM_OPENING, answer)


def test_wrapped_lines_and_bare_titles_are_read_as_sentences():
    """PDF text breaks lines anywhere and leaves titles unmarked."""
    text = "Knives\nLarkmoor knives have a\nwarranty of 12 years.\nSteel pans\nPans last."

    expected = ["Larkmoor knives have a warranty of 12 years.", "Pans last."]
    assert expected == customers.sentences(text)


def test_same_seed_gives_the_same_people():
    """The demo can be played again and print the same ratings."""
    people = customers.population(Preference.SHORT, 30, seed=5)

    assert people == customers.population(Preference.SHORT, 30, seed=5)
    assert 30 == len({person.name for person in people})
    assert 6 == sum(person.preference is Preference.ANY_FORM for person in people)


def test_examples_in_docstrings_hold():
    """A docstring that shows a wrong result misleads its reader."""
    assert 0 == doctest.testmod(customers).failed
