"""The admin's desk in a real browser, on a real database; the model server is not needed."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from core.attempts import Outcome
from core.errors import Cancelled
from core.feedback import add_correction, corrections_of, record_rating
from core.jobs import end_attempt, report_progress
from core.learning import (
    deploy,
    insert_adapter,
    insert_gate_report,
    judge_run,
    list_runs,
    live_adapter,
    next_adapter_name,
    record_step,
    request_run,
)
from core.settings import Settings
from core.types import (
    CorrectionStatus,
    DeploymentKind,
    GateReport,
    Rating,
    Reason,
    RunState,
    TrainingStep,
)
from tests.builders import ANNA, make_passage, make_turn
from tests.web import sign_in
from tests.worker import hold
from training.examples import load_examples
from training.objectives import DPO
from training.signals import Caps

CAPS = Caps(per_rater=10, per_address=10)

HOSTILE = '<img src=x onerror="window.ran = 1"><script>window.ran = 1</script> ${1} {{7}}'


@pytest.fixture(scope="module")
def web(start_web, short_tmp):
    """The web app alone."""
    with start_web(short_tmp / "desk") as running:
        yield running


@pytest.fixture
def database(web):
    """The web app's database, with nothing in it."""
    with web.database.connect() as conn:
        conn.execute("TRUNCATE conversations, jobs, adapters, deployments CASCADE")
    return web.database


@pytest.fixture
def site(web):
    """The web app's address, without a trailing slash."""
    return web.url


@pytest.fixture
def desk(page, site, database):
    """Open the desk as the admin once its rows are there: `desk("Learning")` opens that tab."""
    page.set_default_timeout(15_000)
    return lambda tab="Review": sign_in(page, site, tab)


def make_dislike(database, question="How long may I return things?", correction=""):
    """A disliked answer and, if given, what its asker says it should have said."""
    with database.connect() as conn:
        turn = make_turn(conn, question=question)
        record_rating(conn, turn.id, ANNA, Rating.DOWN, [Reason.INCORRECT], "It is wrong.")
        if correction:
            add_correction(conn, turn.id, ANNA, correction, by_admin=False)
    return turn


def read(database, function, *args):
    """What an SQL function returns now."""
    with database.connect() as conn:
        return function(conn, *args)


def test_a_stranger_is_sent_to_the_sign_in(page, site, database):
    """Conversations of customers are on the desk; the address alone must not open it."""
    page.goto(f"{site}/desk")

    expect(page).to_have_url(re.compile("/desk/login$"))


def test_a_wrong_password_opens_nothing(page, site, database):
    """It says so in words, and the desk stays shut."""
    page.goto(f"{site}/desk/login")
    page.get_by_label("Password").fill("guess")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_contain_text("not the password")
    page.goto(f"{site}/desk")
    expect(page).to_have_url(re.compile("/desk/login$"))


def test_a_customers_session_can_not_call_the_desk(site, database):
    """Gradio answers private endpoints; a hidden page is no lock."""
    with httpx.Client(base_url=site, timeout=10) as customer:
        customer.get("/")  # gives the visitor's cookie
        call = {"data": [], "fn_index": 0, "session_hash": "made-up"}
        answers = [
            customer.get("/desk/config"),
            customer.post("/desk/gradio_api/queue/join", json=call),
            customer.post("/desk/gradio_api/run/predict", json=call),
            customer.get("/desk/gradio_api/queue/data", params={"session_hash": "made-up"}),
        ]

    assert [404, 401, 404, 401] == [answer.status_code for answer in answers]


def test_the_empty_desk_says_what_to_expect(desk):
    """On the first day nothing is broken, there is just nothing yet."""
    page = desk()

    expect(page.locator("#desk-card")).to_contain_text("No disliked answers yet")
    expect(page.locator("#desk-save")).to_be_hidden()


def test_what_customers_write_is_shown_as_text(desk, database):
    """A question is looked at by the person with the most rights."""
    turn = make_dislike(database, HOSTILE, HOSTILE)
    with database.connect() as conn:
        record_rating(conn, turn.id, ANNA, Rating.DOWN, [], HOSTILE)

    page = desk()

    expect(page.locator("#desk-card .question .written")).to_have_text(HOSTILE)
    expect(page.locator("#desk-card .dislike .written")).to_have_text(HOSTILE)
    expect(page.locator("#desk-card .correction .written")).to_have_text(HOSTILE)
    assert page.evaluate("window.ran") is None


def test_the_passages_tell_which_were_cited(desk, database):
    """A wrong answer with the right passage is another fault than a missing passage."""
    with database.connect() as conn:
        passages = [make_passage(1), make_passage(2, body="Shops close at six.")]
        turn = make_turn(conn, answer="Within 30 days [1].", passages=passages)
        record_rating(conn, turn.id, ANNA, Rating.DOWN)

    page = desk()

    shown = page.locator("#desk-card .passages details")
    expect(shown.nth(0)).to_contain_text("[1] Article 1 > Returns cited")
    expect(shown.nth(1)).to_contain_text("[2] Article 2 > Returns not cited")
    expect(shown.nth(1)).to_contain_text("Shops close at six.")


def test_an_approved_correction_counts(desk, database):
    """Approving is what makes a stranger's sentence a lesson of its own standing."""
    turn = make_dislike(database, correction="Within 60 days.")
    page = desk()

    page.get_by_role("button", name="Approve correction").click()

    expect(page.locator("#desk-said")).to_have_text("Approved. The next training learns from it.")
    expect(page.locator("#desk-card .correction")).to_contain_text("learned from")
    [example] = read(database, load_examples, CAPS)
    assert "Within 60 days." == DPO.wanted_text(example.columns)
    assert example.turn_id == turn.id


def test_a_correction_that_was_thought_better_of_waits_for_nobody(desk, database):
    """A customer's newer one takes its place."""
    turn = make_dislike(database, correction="Within 50 days.")
    with database.connect() as conn:
        add_correction(conn, turn.id, ANNA, "Within 60 days.", by_admin=False)
    shown = desk().locator("#desk-card .correction")

    expect(shown.nth(0)).to_contain_text("Waiting for you")
    expect(shown.nth(1)).to_contain_text("replaced by a newer one of the same author")


def test_a_rejected_correction_teaches_nothing(desk, database):
    """Not every customer knows better."""
    turn = make_dislike(database, correction="Returns are for cowards.")
    page = desk()

    page.get_by_role("button", name="Reject correction").click()

    expect(page.locator("#desk-said")).to_contain_text("Rejected.")
    [correction] = read(database, corrections_of, turn.id)
    assert CorrectionStatus.REJECTED == correction.status
    assert [] == read(database, load_examples, CAPS)


def test_the_admins_answer_is_learned_instead_of_the_customers(desk, database):
    """The person who answers for the shop has the last word."""
    make_dislike(database, correction="Within 60 days.")
    page = desk()

    page.get_by_label("What it should have said").fill("  Within 30 days, unused [1].  ")
    page.get_by_role("button", name="Save as the preferred answer").click()

    expect(page.locator("#desk-said")).to_contain_text("Saved.")
    [example] = read(database, load_examples, CAPS)
    assert "Within 30 days, unused [1]." == DPO.wanted_text(example.columns)


def test_the_queue_is_worked_through_by_keyboard(desk, database):
    """A hundred answers are reviewed with two keys each."""
    make_dislike(database, "The older question?")
    newer = make_dislike(database, "The newer question?")
    page = desk()
    expect(page.locator("#desk-card .question")).to_contain_text("The newer question?")
    expect(page.locator("#desk-queue-line")).to_contain_text("2 left to review")

    page.keyboard.press("3")
    page.keyboard.press("Control+Enter")

    expect(page.locator("#desk-card .question")).to_contain_text("The older question?")
    expect(page.locator("#desk-queue-line")).to_contain_text("1 left to review")
    with database.connect() as conn:
        [row] = conn.execute("SELECT turn_id, verdict FROM reviews").fetchall()
    assert (newer.id, "stale_article") == row


def test_a_verdict_is_asked_for_in_one_line(desk, database):
    """A click without a choice is a slip, not a crash."""
    make_dislike(database)
    page = desk()

    page.get_by_role("button", name="Save and next").click()

    expect(page.get_by_text("choose what was at fault, then save")).to_be_visible()
    expect(page.locator("#desk-queue-line")).to_contain_text("1 left to review")


def test_train_now_queues_one_run_and_shows_it_live(desk, database):
    """The person who pressed the button sees it work without reloading."""
    page = desk("Learning")
    expect(page.locator("#desk-run-card")).to_contain_text("No training yet")

    page.get_by_role("button", name="Train now").click()
    expect(page.locator("#desk-learning-said")).to_contain_text("Queued.")
    page.get_by_role("button", name="Train now").click()
    expect(page.locator("#desk-learning-said")).to_contain_text("A run is at work already.")
    [run] = read(database, list_runs)
    assert "button" == run.trigger

    with database.connect() as conn:
        progress = {"step": 2, "total_steps": 8}
        report_progress(conn, hold(conn), 60, progress, phase=RunState.FITTING)
        for step in (1, 2):
            record_step(conn, run.id, TrainingStep(step, 0.7 / step, 0.1 * step, 0.5))
    expect(page.locator("#desk-run-card")).to_contain_text("step 2 of 8", timeout=10_000)
    expect(page.locator("#desk-loss canvas, #desk-loss svg.marks").first).to_be_visible()
    expect(page.locator("#desk-margin")).to_contain_text("Margin")


def test_a_waiting_run_is_cancelled_at_a_click(desk, database):
    """Pressed by mistake, it must not cost hours."""
    page = desk("Learning")
    page.get_by_role("button", name="Train now").click()

    page.get_by_role("button", name="Cancel this run").click()

    expect(page.locator("#desk-run-card")).to_contain_text("Cancelled", timeout=10_000)
    expect(page.get_by_role("button", name="Cancel this run")).to_be_hidden()
    [run] = read(database, list_runs)
    assert RunState.CANCELLED == run.state


def test_a_run_at_work_hears_that_it_is_cancelled(desk, database):
    """The page says who asked; the worker ends it at its next report."""
    with database.connect() as conn:
        request_run(conn, "beat")
        job = hold(conn)
    page = desk("Learning")

    page.get_by_role("button", name="Cancel this run").click()

    card = page.locator("#desk-run-card")
    expect(card).to_contain_text("Cancelled by admin; it ends within seconds.", timeout=10_000)
    with database.connect() as conn, pytest.raises(Cancelled, match="cancelled by admin"):
        report_progress(conn, job, 60)
    with database.connect() as conn:
        end_attempt(conn, job, Outcome.CANCELLED, reason="cancelled by admin")
    expect(card.locator("h3")).to_contain_text("Cancelled", timeout=10_000)


def make_rejected_adapter(database):
    """A run whose adapter the gate rejected."""
    with database.connect() as conn:
        run = request_run(conn, "beat")
        job = hold(conn)
        version, name = next_adapter_name(conn)
        insert_adapter(
            conn,
            name=name,
            version=version,
            run_id=run.id,
            path=f"/nowhere/{name}",
            sha256="0" * 64,
            base_model=Settings(_env_file=None).model,
            rank=8,
        )
        report = GateReport(passed=False, reasons=["lost 2 of 60 facts"], figures={})
        insert_gate_report(conn, run.id, name, None, report)
        judge_run(conn, run.id, RunState.REJECTED, report.reasons)
        end_attempt(conn, job, Outcome.DONE, result={})
    return name


def test_a_rejected_run_says_why(desk, database):
    """Nobody promotes by hand what they don't know was worse."""
    name = make_rejected_adapter(database)
    page = desk("Learning")

    expect(page.locator("#desk-run-card")).to_contain_text("lost 2 of 60 facts")
    expect(page.locator("#desk-live")).to_contain_text("the base model")
    page.get_by_role("button", name="Promote …").click()

    expect(page.locator("#desk-asked")).to_contain_text("The gate rejected this adapter")
    expect(page.locator("#desk-asked")).to_contain_text(f"Make {name} live?")


def test_a_promotion_that_fails_changes_nothing(desk, database):
    """With its files lost, what is live stays live and the page says what happened."""
    name = make_rejected_adapter(database)
    page = desk("Learning")
    page.get_by_role("button", name="Promote …").click()

    page.get_by_role("button", name="Yes, make").click()

    expect(page.get_by_text(f"the folder /nowhere/{name} is gone")).to_be_visible()
    assert read(database, live_adapter) is None


def test_the_deployment_log_names_who_and_why(desk, database):
    """Who switched what is asked when something went wrong."""
    name = make_rejected_adapter(database)
    with database.connect() as conn:
        deploy(conn, name, DeploymentKind.PROMOTE, "command", "tried <b>it</b>")

    page = desk("Learning")

    row = page.get_by_role("row", name=f"Went live {name} command tried <b>it</b>")
    expect(row).to_be_visible()
    expect(page.get_by_role("button", name="Roll back to the base model …")).to_be_enabled()


@pytest.mark.parametrize("tab", ["Review", "Learning"])
def test_the_desk_fits_a_phone(desk, database, page, tab):
    """A shop's owner looks in from the bus."""
    make_dislike(database, "W" * 300, "Within 60 days.")
    make_rejected_adapter(database)
    page.set_viewport_size({"width": 390, "height": 844})

    desk(tab)

    shown = page.locator("#desk-card .question, #desk-run-card .run").locator("visible=true")
    expect(shown).to_be_visible()
    assert 390 == page.evaluate("document.documentElement.scrollWidth")
