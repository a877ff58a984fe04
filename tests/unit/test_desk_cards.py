"""Every card of the desk, with hostile text in each place that people or documents can write to."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from uuid import UUID

import pytest
from jinja2.runtime import Macro

from bot.desk.bringing_in import CARDS as KNOWLEDGE
from bot.desk.cards import load_cards
from bot.desk.learning import CARDS as LEARNING
from bot.desk.learning_overview import LearningOverview
from bot.desk.quality import CARDS as QUALITY
from bot.desk.recall_plot import recall_plot
from bot.desk.review import CARDS as REVIEW
from bot.desk.review_queue import QueueEntry, ReviewItem
from core.attempts import JobAttempt
from core.jobs import Job, JobState
from core.learning import AnswerFeedback
from core.settings import Settings
from core.types import (
    Adapter,
    Correction,
    CorrectionStatus,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Feedback,
    GateReport,
    Rating,
    Review,
    RunState,
    Serving,
    TrainingRun,
    Turn,
    TurnStatus,
    Verdict,
)
from retrieval.articles import Article, ArticlePage, IndexedChunk
from retrieval.options import SearchOptions
from retrieval.search import Found
from tests.builders import ADMIN, ANNA, make_passage
from training.examples import ExampleCount
from training.signals import Caps, weigh

HOSTILE = """<img src=x onerror="window.ran = 1"><script>ran = 1</script>' ${1} {{7}} {% raw %}"""
NOW = datetime(2026, 11, 26, tzinfo=UTC)
ID = UUID(int=7)
TEMPLATES = {
    "macros": load_cards("macros"),
    "jobs": load_cards("jobs"),
    "knowledge": KNOWLEDGE,
    "learning": LEARNING,
    "quality": QUALITY,
    "review": REVIEW,
}

turn = Turn(
    ID, ID, 0, HOSTILE, HOSTILE + " [1]", TurnStatus.STOPPED, HOSTILE, HOSTILE, HOSTILE, 5.0,
    1500.0, None, 7, None, NOW, NOW,
    [{"role": "system", "content": HOSTILE}, *[{"role": "user", "content": HOSTILE}] * 2],
)  # fmt: skip
passage = make_passage(
    title=HOSTILE, heading=HOSTILE, body=HOSTILE, uri=HOSTILE, document_id=ID, text_rank=None
)
correction = Correction(ID, ID, ANNA, False, HOSTILE, CorrectionStatus.PROPOSED, NOW, HOSTILE)
dislike = Feedback(ID, ID, ANNA, Rating.DOWN, [HOSTILE], HOSTILE, NOW)
review = Review(ID, ID, ADMIN, Verdict.ANSWER_FINE, HOSTILE, NOW)
answer = AnswerFeedback(
    ID, ID, NOW, TurnStatus.COMPLETE, False, "0" * 64, turn.answer, (correction,), (dislike,),
    (review,),
)  # fmt: skip
entry = QueueEntry(ReviewItem(turn, [passage], weigh([answer], Caps(1, 1))[0]), 0, 1, 1, 1)
run = TrainingRun(
    ID, RunState.FITTING, HOSTILE, 2, {"message": HOSTILE}, ID, HOSTILE, [HOSTILE], HOSTILE,
    NOW, NOW, None,
)  # fmt: skip
attempts = [JobAttempt(n, NOW, NOW, HOSTILE, HOSTILE) for n in (1, 2)]
names = (
    "heldout_pairs", "heldout_wins", "heldout_win_rate", "heldout_win_rate_low",
    "heldout_win_rate_high", "heldout_margin_gain_nats", "golden_questions", "answers",
    "words_live", "words_candidate", "words_preferred", "answers_looping_live",
    "answers_looping", "answers_empty",
    *(f"golden_{what}_{when}" for what in ("facts", "citations")
      for when in ("live", "candidate", "lost", "gained")),
)  # fmt: skip
figures = dict.fromkeys(names, 1) | {"golden_problems": [HOSTILE]}
report = GateReport(False, [HOSTILE], figures)
adapter = Adapter(ID, HOSTILE, 1, ID, HOSTILE, HOSTILE, HOSTILE, 8, NOW)
deployment = Deployment(
    1, HOSTILE, DeploymentKind.PROMOTE, HOSTILE, HOSTILE, NOW, DeploymentState.FAILED, 1.0, True,
    HOSTILE, HOSTILE, HOSTILE, False, HOSTILE, None,
)  # fmt: skip
overview = LearningOverview(
    Serving(HOSTILE, HOSTILE, HOSTILE, NOW),
    HOSTILE,
    (HOSTILE, NOW),
    ExampleCount(1, 1),
    [run],
    [adapter],
    {HOSTILE: False},
    {HOSTILE},
    [deployment],
)
article = Article(ID, HOSTILE, f"https://{HOSTILE}", HOSTILE, HOSTILE, 9, NOW)
articles = ArticlePage([article], 0, 1, 1)
chunk = IndexedChunk(0, [HOSTILE], HOSTILE, 7)
figure = {"value": 0.5, "low": 0.25, "high": 0.75, "p": 0.5}
leg = dict.fromkeys(("recall@1", "recall@3", "recall@5", "recall@10", "ndcg@10", "mrr"), figure)
result = {
    "added": 1, "n_chunks": 2, "problems": [{"path": HOSTILE, "reason": HOSTILE}],
    "n_queries": 3, "unknown": [HOSTILE], "final": "text", "legs": {"text": leg},
    "against": {"verdict": HOSTILE, "final": "text", "legs": {"text": leg}, "differences": leg},
}  # fmt: skip
job = Job(
    ID, "ingest", None, {}, JobState.RUNNING, True, "", {}, {"path": HOSTILE}, result, HOSTILE, 1,
    1, NOW, NOW, HOSTILE, NOW, NOW, None,
)  # fmt: skip
miss = {"question": HOSTILE, "previous": HOSTILE, "rank": 2, "wanted": [HOSTILE], "found": ["a"]}
OPTIONS = SearchOptions.of(Settings(_env_file=None))
plot = recall_plot({HOSTILE: [0.4, 0.9]})

CALLS = {
    "macros": {
        "desk_head": (),
        "figures": ([(HOSTILE, HOSTILE)],),
        "paging_line": (HOSTILE, HOSTILE),
        "pill": (HOSTILE, HOSTILE),
        "reasons": (HOSTILE, [HOSTILE]),
        "status": (HOSTILE,),
        "written": (HOSTILE,),
    },
    "jobs": {
        "attempt_table": (attempts,),
        "cancel_button": (job, HOSTILE),
        "job_head": (job, HOSTILE),
    },
    "knowledge": {
        "article_card": (article, [chunk]),
        "article_line": (articles,),
        "article_table": (articles, HOSTILE),
        "ingest_cards": ([(job, HOSTILE, attempts)],),
        "removal_question": (article,),
        "tried_card": (HOSTILE, Found([passage], [None], False, HOSTILE), OPTIONS),
    },
    "learning": {
        "adapter_table": (overview,),
        "deployment_question": (HOSTILE, HOSTILE, [HOSTILE]),
        "deployment_table": ([deployment],),
        "gate_card": (report,),
        "live_card": (overview,),
        "run_card": (run, job, report, attempts),
    },
    "quality": {
        "evaluation_card": (job, HOSTILE, attempts, plot),
        "history_table": ([(job, HOSTILE)],),
        "in_use": (HOSTILE,),
        "miss_list": ([miss], {"a": (ID, HOSTILE)}),
        "recall_svg": (plot,),
    },
    "review": {"keys_line": (), "queue_line": (entry,), "review_card": (entry,)},
}
WRAPPED = {"empty", "table"}  # they put tags around what other macros have made
SILENT = {"desk_head", "keys_line", "article_line", "queue_line"}  # nobody writes into these


class Tags(HTMLParser):
    """Collects the names of all tags and of all their attributes."""

    def __init__(self, html):
        super().__init__()
        self.names, self.attributes = set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    ("template", "card"), [(template, card) for template, calls in CALLS.items() for card in calls]
)
def test_what_others_wrote_is_shown_as_text(template, card):
    """The desk is looked at by the person with the most rights."""
    shown = getattr(TEMPLATES[template], card)(*CALLS[template][card])

    assert card in SILENT or "&lt;img src=x onerror=" in shown
    assert set() == Tags(shown).names & {"img", "script"}
    assert [] == [name for name in Tags(shown).attributes if name.startswith("on")]


def test_no_card_is_left_out():
    """A new card must not bypass the test above."""
    macros = {name: macros_of(template) for name, template in TEMPLATES.items()}
    shared = macros["macros"] | macros["jobs"]

    assert set(CALLS["macros"]) | WRAPPED == macros["macros"]
    for name, calls in CALLS.items():
        imported = set() if name == "macros" else shared
        assert macros[name] - imported - WRAPPED == set(calls) - imported


def macros_of(template):
    """The names of a template's macros, those it imports included."""
    return {name for name in dir(template) if isinstance(getattr(template, name), Macro)}
