"""What the gate lets through, and what it says when it does not."""

import doctest

import pytest

from training import recipe
from training.gate import replay, rules, statistics
from training.gate.replay import Asked, score
from training.gate.rules import Answered, Evidence, HeldoutScore, decide
from training.gate.statistics import wilson_interval
from training.objectives import dpo

GOOD = Answered(n_words=12, is_empty=False, loops=False, has_facts=True, cites_right=True)


def evidence(*, wins=30, losses=2, live=None, candidate=None, n_golden=60):
    """A clear improvement that lost nothing, unless told otherwise."""
    heldout = [HeldoutScore(0.0, 1.0)] * wins + [HeldoutScore(1.0, 0.0)] * losses
    return Evidence(
        heldout=heldout,
        live_answers=live or [GOOD] * 60,
        candidate_answers=candidate or [GOOD] * 60,
        wanted_words=14.0,
        n_golden=n_golden,
    )


def answers(n_changed, **change):
    """Sixty good answers, the first few changed."""
    fields = {name: getattr(GOOD, name) for name in GOOD.__slots__}
    return [Answered(**{**fields, **change})] * n_changed + [GOOD] * (60 - n_changed)


def test_a_clear_improvement_passes():
    """The gate must let good candidates through, with the figures that show it."""
    report = decide(evidence())

    assert (True, []) == (report.passed, report.reasons)
    assert (30.0, 32) == (report.figures["heldout_wins"], report.figures["heldout_pairs"])


@pytest.mark.parametrize(("wins", "losses"), [(6, 2), (16, 16), (0, 0)])
def test_an_improvement_that_may_be_luck_is_refused(wins, losses):
    """Six of eight happens by chance one time in seven."""
    [reason] = decide(evidence(wins=wins, losses=losses)).reasons

    assert reason.startswith("not surely better on held-out pairs")


def test_ties_count_half():
    """A candidate equal to the live one is not better."""
    heldout = [HeldoutScore(1.0, 1.01)] * 40
    report = decide(Evidence(heldout, [GOOD], [GOOD], 14.0, 0))

    assert (20.0, False) == (report.figures["heldout_wins"], report.passed)


@pytest.mark.parametrize(("field", "word"), [("has_facts", "facts"), ("cites_right", "citations")])
def test_losing_facts_or_citations_is_refused(field, word):
    """A friendlier answer that is wrong is worse."""
    [reason] = decide(evidence(candidate=answers(4, **{field: False}))).reasons

    assert f"{word} lost on golden questions: right 60 before, 56 now, of 60" in reason


@pytest.mark.parametrize(("lost", "gained"), [(1, 0), (3, 1), (9, 7)])
def test_a_loss_that_may_be_chance_is_forgiven(lost, gained):
    """Two equally able models differ on a few questions; that must not stop all learning."""
    without = Answered(n_words=12, is_empty=False, loops=False)
    live = [*[GOOD] * (60 - gained), *[without] * gained]
    candidate = [*[without] * lost, *[GOOD] * (60 - lost)]

    assert decide(evidence(live=live, candidate=candidate)).passed


def test_a_large_loss_is_refused_even_if_it_may_be_chance():
    """Seven points fewer right answers are too many, whatever the reason."""
    without = Answered(n_words=12, is_empty=False, loops=False)
    live = [*[GOOD] * 50, *[without] * 10]
    candidate = [*[without] * 14, *[GOOD] * 46]

    assert not decide(evidence(live=live, candidate=candidate)).passed


def test_gains_make_up_for_losses():
    """The comparison is paired: as many found as lost is no loss."""
    live = [*answers(0)[:55], *[Answered(12, False, False)] * 5]
    candidate = answers(5, has_facts=False, cites_right=False)

    assert decide(evidence(live=live, candidate=candidate)).passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_empty": True, "n_words": 0}, "6 of 60 answers are empty"),
        ({"loops": True}, "6 of 60 answers repeat themselves"),
    ],
)
def test_empty_and_looping_answers_are_refused(change, words):
    """These are how preference training usually breaks a model."""
    assert words in decide(evidence(candidate=answers(6, **change))).reasons


@pytest.mark.parametrize("n_words", [2, 60])
def test_answers_far_from_both_the_live_and_the_preferred_length_are_refused(n_words):
    """DPO likes to drift towards endless answers."""
    [reason] = decide(evidence(candidate=answers(60, n_words=n_words))).reasons

    assert "words on average" in reason


def test_a_length_that_people_prefer_is_not_a_fault():
    """If customers want lists, longer answers are what they asked for."""
    wanted = Evidence([HeldoutScore(0, 1)] * 30, [GOOD], answers(60, n_words=50), 48.0, 0)

    assert decide(wanted).passed


def test_without_any_answer_nothing_passes():
    """No evidence is no permission."""
    assert not decide(Evidence([HeldoutScore(0, 1)] * 30, [], [], 14.0, 0)).passed


def test_the_interval_of_no_trials_is_everything():
    """So that no data can never look certain."""
    assert (0.0, 1.0) == wilson_interval(0, 0)


def test_an_answer_is_scored_by_the_article_behind_its_number():
    """[2] is right only if passage two comes from the golden article."""
    asked = Asked([], ["30 days"], "returns.md", ["refunds.md", "returns.md"])

    right = score("You have 30 days. [2]", asked, hit_limit=False)
    wrong = score("You have 130 days. [1]", asked, hit_limit=False)

    assert (True, True) == (right.has_facts, right.cites_right)
    assert (False, False) == (wrong.has_facts, wrong.cites_right)


def test_a_citation_of_a_passage_that_was_not_shown_is_wrong():
    """A number out of the air must not crash or count."""
    asked = Asked([], ["x"], "a.md", ["a.md"])

    assert not score("x [0] [7]", asked, hit_limit=False).cites_right


@pytest.mark.parametrize(
    ("answer", "hit_limit", "loops"),
    [
        ("we ship to all of Canada", False, False),
        ("we ship to all we ship to all we ship to all", False, True),
        ("a long answer that never ended", True, True),
    ],
)
def test_an_answer_loops_when_words_repeat_or_it_never_ends(answer, hit_limit, loops):
    """Both look the same to a customer."""
    assert loops == score(answer, Asked([]), hit_limit=hit_limit).loops


@pytest.mark.parametrize("module", [dpo, recipe, replay, rules, statistics])
def test_the_examples_in_the_docstrings_hold(module):
    """They are documentation that can't lie."""
    assert 0 == doctest.testmod(module).failed
