"""The desk's handlers and its queue, without a browser."""

import inspect
from types import SimpleNamespace
from uuid import UUID

import gradio as gr
import pytest
from gradio.helpers import special_args

from bot.chat.page import build_chat_page
from bot.desk import build_desk
from bot.desk.knowledge import ArticleSelection
from bot.desk.learning import CARDS, LearningView
from bot.desk.learning_overview import fingerprint, load_overview
from bot.desk.review_queue import ReviewCursor, find_entry
from bot.web.handlers import permission_of
from core.audit import list_entries
from core.base_model import BaseModel
from core.feedback import add_correction, decide_correction, record_review
from core.jobs import list_jobs, request_job
from core.learning import deploy, eject_rater, request_run
from core.people import PERMISSIONS, Role
from core.types import CorrectionStatus, DeploymentKind, Rating, Verdict
from tests.builders import ADMIN, ANNA, BEN, make_rating, make_request, make_turn
from training.signals import Caps

CAPS = Caps(per_rater=50, per_address=200)


@pytest.fixture
async def desk(settings, database):
    """The desk as the web app mounts it; built within a loop, else Gradio leaves one open."""
    return build_desk(SimpleNamespace(settings=settings, database=database, company="Shop"))


@pytest.fixture
async def chat(settings, database):
    """The chat page, likewise."""
    return build_chat_page(SimpleNamespace(settings=settings, database=database, company="Shop"))


def handler_of(desk, name):
    """One of the desk's handlers by its name."""
    fns = [each.fn for each in desk.fns.values()]
    return next(fn for fn in fns if getattr(fn, "__name__", "") == name)


@pytest.mark.parametrize("run_id", ["", "none", None, 7, ["x"]])
def test_a_run_that_is_none_is_said_in_a_line(desk, run_id):
    """A call made by hand must not show a traceback."""
    with pytest.warns(UserWarning, match="That is no training run"):  # a toast, in a browser
        handler_of(desk, "show_run")(LearningView(), run_id, make_request(Role.ADMIN))


@pytest.mark.parametrize("address", ["https://me:secret@example.com/help", "https://", "http://[x"])
def test_an_address_that_can_not_be_used_is_said_in_a_line(desk, database, address):
    """A password in it would lie in jobs, log and articles; others would fail much later."""
    with pytest.warns(UserWarning, match="may hold no name or password"):
        handler_of(desk, "ingest_site")(address, "everyone", make_request(Role.ADMIN))

    with database.connect() as conn:
        assert [] == list_jobs(conn)


def test_what_follows_an_addresss_question_mark_is_not_logged(desk, database):
    """It may be a key; the job needs it, the log does not."""
    address = "https://example.com/help?token=hidden"
    handler_of(desk, "ingest_site")(address, "everyone", make_request(Role.ADMIN))

    with database.connect() as conn:
        [entry], [job] = list_entries(conn), list_jobs(conn)
    assert ["https://example.com/help"] == entry.details["sources"]
    assert [address] == job.request["sources"]


def click_cancel(desk, name, job_id, *inputs):
    """Call a page's handler of Cancel buttons as the admin, with what a click sends."""
    event = gr.EventData(None, {"job": job_id})
    return handler_of(desk, name)(*inputs, event, make_request(Role.ADMIN))


@pytest.mark.parametrize(
    ("name", "kind", "inputs"),
    [
        ("cancel_ingest", "ingest", ()),
        ("cancel_evaluation", "evaluate", ()),
        ("cancel_run", "retrain", (LearningView(),)),
    ],
)
def test_a_job_is_cancelled_by_who_may_ask_for_it(desk, database, name, kind, inputs):
    """Six hours of a crawl that nobody wants any more end at a click; the log says whose."""
    with database.connect() as conn:
        ingest = request_job(conn, "ingest", {"sources": []})
        evaluation = request_job(conn, "evaluate", {"queries": "turns"})
        jobs = {"ingest": ingest.id, "evaluate": evaluation.id}
        jobs["retrain"] = request_run(conn, "button").id

    click_cancel(desk, name, str(jobs[kind]), *inputs)

    with database.connect() as conn:
        states = {job.kind: job.state.value for job in list_jobs(conn)}
        [entry] = list_entries(conn)
    assert dict.fromkeys(jobs, "queued") | {kind: "cancelled"} == states
    assert ("admin", str(jobs[kind])) == (entry.actor, entry.subject)


@pytest.mark.parametrize("job_id", [None, "x", 7, ["y"], "00000000-0000-0000-0000-000000000007"])
def test_a_job_that_is_none_is_said_in_a_line(desk, job_id):
    """A click is what a client says it is."""
    with pytest.warns(UserWarning, match="Click the Cancel button|No job"):
        click_cancel(desk, "cancel_evaluation", job_id)


def test_a_pages_button_cancels_no_other_pages_job(desk, database):
    """Who may evaluate the search may not stop a training."""
    with database.connect() as conn:
        run = request_run(conn, "button")

    with pytest.warns(UserWarning, match="No evaluate job"):
        click_cancel(desk, "cancel_evaluation", str(run.id))

    with database.connect() as conn:
        assert "queued" == list_jobs(conn)[0].state


async def call(handler, request):
    """Call a handler as Gradio would, with the emptiest values, up to its first update."""
    event = gr.EventData(None, {"index": 0, "value": "", "liked": True})
    given, *_ = special_args(handler.fn, [None] * len(handler.inputs), request, event)
    called = handler.fn(*given)
    return await anext(called) if inspect.isasyncgen(called) else called


async def test_every_handler_of_the_chat_refuses_who_may_not_ask(chat):
    """An account that was closed leaves a person without a role."""
    handlers = [each for each in chat.fns.values() if each.fn is not None]

    for handler in handlers:
        with pytest.raises(gr.Error, match="sign in"):
            await call(handler, make_request(frozenset()))

    assert len(handlers) >= 17
    assert {permission_of(each.fn) for each in handlers} == PERMISSIONS[Role.VISITOR]


async def test_every_handler_refuses_a_customer(desk, database):
    """A new button must not open a way in because someone forgot to ask who presses it."""
    with database.connect() as conn:
        make_rating(conn)
    handlers = [each for each in desk.fns.values() if each.fn is not None]

    for handler in handlers:
        if handler.fn.__name__ == "poll":  # says it in a line instead, see there
            continue
        with pytest.raises(gr.Error, match="sign in"):
            await call(handler, make_request(Role.VISITOR))

    assert len(handlers) >= 30
    assert not {permission_of(each.fn) for each in handlers} & PERMISSIONS[Role.VISITOR]
    with database.connect() as conn:
        assert 0 == conn.execute("SELECT count(*) FROM training_runs").fetchone()[0]
        assert 0 == conn.execute("SELECT count(*) FROM jobs").fetchone()[0]


@pytest.mark.parametrize(
    ("page", "view", "n_shown"),
    [
        ("learning", LearningView(), 2),  # the line, and that nothing is shown
        ("knowledge", ArticleSelection(), 1),
        ("quality", None, 1),
    ],
)
def test_the_live_views_tell_a_customer_nothing(desk, database, page, view, n_shown):
    """The handlers that answer instead of failing say only that one is signed out."""
    with database.connect() as conn:
        request_run(conn, "button")
        request_job(conn, "evaluate", {"queries": "turns"})
    polls = [each.fn for each in desk.fns.values() if getattr(each.fn, "__name__", "") == "poll"]
    [poll] = [poll for poll in polls if poll.__module__ == f"bot.desk.{page}"]

    shown = poll(view, make_request(Role.VISITOR))

    [text] = [value.value for value in shown.values() if isinstance(value, gr.HTML)]
    assert n_shown == len(shown)
    assert text.startswith('<p role="status">you may not ')


def test_the_queue_goes_on_where_a_reviewed_answer_was(conn):
    """Saving a verdict takes the answer out of the queue; none may be skipped by that."""
    oldest, middle, newest = (make_rating(conn).turn_id for _ in range(3))
    record_review(conn, middle, Verdict.ANSWER_FINE, "", ADMIN)

    entry = find_entry(conn, ReviewCursor(middle, index=1), CAPS, step=0, include_reviewed=False)

    assert (oldest, 1, 2) == (entry.item.turn.id, entry.index, entry.n_left)
    back = find_entry(conn, ReviewCursor(oldest, index=1), CAPS, step=-1, include_reviewed=False)
    assert newest == back.item.turn.id


def test_a_new_dislike_does_not_move_the_reader(conn):
    """While one answer is read others come in on top; next is still the next older one."""
    oldest, read_now = make_rating(conn).turn_id, make_rating(conn).turn_id
    make_rating(conn)

    entry = find_entry(conn, ReviewCursor(read_now, index=0), CAPS, step=1, include_reviewed=False)

    assert oldest == entry.item.turn.id


def test_an_entry_holds_the_dislikes_the_passages_and_the_newest_verdict(conn):
    """A reviewed answer can be called back, with what was found last."""
    turn = make_turn(conn)
    make_rating(conn, turn, reasons=["incorrect"], comment="no")
    make_rating(conn, turn, rater_id=BEN, rating=Rating.UP)
    record_review(conn, turn.id, Verdict.ANSWER_FINE, "", ADMIN)
    record_review(conn, turn.id, Verdict.STALE_ARTICLE, "see the new policy", ADMIN)

    left = find_entry(conn, ReviewCursor(), CAPS, step=0, include_reviewed=False)
    item = find_entry(conn, ReviewCursor(), CAPS, step=0, include_reviewed=True).item

    assert left.item is None
    assert ["no"] == [thumb.comment for thumb in item.dislikes]
    assert (Verdict.STALE_ARTICLE, "see the new policy") == (item.review.verdict, item.review.note)
    assert (turn.id, 1) == (item.turn.id, len(item.passages))


def test_an_emptied_queue_shows_nothing(conn):
    """After the last verdict there is an end, not an error."""
    only = make_rating(conn).turn_id
    record_review(conn, only, Verdict.TONE_OR_POLICY, "", ADMIN)

    entry = find_entry(conn, ReviewCursor(only, index=0), CAPS, step=0, include_reviewed=False)

    assert (None, 0, 1) == (entry.item, entry.n_left, entry.n_disliked)


@pytest.mark.parametrize("change", ["correction", "decision", "run", "ejection"])
def test_the_learning_page_notices(conn, change):
    """What the page leaves out until a reload is a lie by then."""
    turn = make_turn(conn)
    correction = add_correction(conn, turn.id, ANNA, "Within 60 days.", by_admin=False)
    before = fingerprint(conn)

    match change:
        case "correction":
            add_correction(conn, turn.id, UUID(int=7), "In May.", by_admin=False)
        case "decision":
            decide_correction(conn, correction.id, CorrectionStatus.REJECTED)
        case "run":
            request_run(conn, "button")
        case "ejection":
            eject_rater(conn, ANNA, "test", "")

    assert before != fingerprint(conn)


def test_the_page_says_that_a_rollback_holds_runs_back(conn):
    """Whoever wonders why a run that passed is not live finds the reason where they look."""
    base = BaseModel("base")
    deploy(conn, None, DeploymentKind.ROLLBACK, "anna", "worse answers", base=base, hold=True)

    shown = CARDS.live_card(load_overview(conn, base, CAPS))

    assert "anna rolled back on" in shown
    assert "no run goes live" in shown
