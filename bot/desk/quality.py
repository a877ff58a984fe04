"""The search quality page: judge the search by questions, compare settings, list the misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import gradio as gr
from psycopg import Connection

from bot.desk import words
from bot.desk.cards import (
    CLICKABLE,
    PLAIN,
    load_cards,
    moment,
    say_in_line,
    short_name,
    status_line,
)
from bot.desk.jobs import POLL_S, cancel_clicked, request_unless_open
from bot.desk.recall_plot import recall_plot
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.attempts import JobAttempt, list_attempts
from core.audit import Action
from core.errors import InvalidInput
from core.jobs import Job, get_job, list_jobs
from core.people import Permission, Person
from core.turns import questions_of
from retrieval.adoption import adopt, can_adopt, current_options, return_to_settings
from retrieval.articles import articles_by_uri
from retrieval.options import SearchOptions, in_words, parse_figures

CARDS = load_cards("quality")
EVALUATE = "evaluate"
N_SHOWN = 20
ERASED = "(the conversation was erased since)"
GOLDEN, TURNS = "golden", "turns"
QUESTIONS = [("The golden questions", GOLDEN), ("Answers people liked or reviewed", TURNS)]


class QualityPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.settings = services.settings
        self.database = services.database
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        self.timer = gr.Timer(POLL_S, active=False)
        with gr.Row(elem_classes="bring-row"):
            self.questions = gr.Dropdown(
                QUESTIONS, value=GOLDEN, label="Questions", elem_id="desk-questions",
                filterable=False,
            )  # fmt: skip
            self.against = gr.Textbox(
                label="Compare with other settings (if you like)",
                placeholder="rrf_k=60, text_weight=1",
                max_length=200,
                elem_id="desk-against",
            )
            self.evaluate = gr.Button("Evaluate", variant="primary", elem_id="desk-evaluate")
        self.said = gr.HTML(visible=False, elem_id="desk-quality-said", **PLAIN)
        self.chosen = gr.Dropdown(
            [], label="Evaluation", visible=False, elem_id="desk-evaluation", filterable=False
        )
        self.card = gr.HTML(elem_id="desk-evaluation-card", **CLICKABLE)
        self.in_use = gr.HTML(elem_id="desk-search-in-use", **PLAIN)
        with gr.Row(elem_classes="deploy-row"):
            self.adopt = gr.Button(
                "Adopt these settings", variant="primary", visible=False, elem_id="desk-adopt"
            )
            self.back = gr.Button(
                "Back to the settings", visible=False, elem_id="desk-back-to-settings"
            )
        self.misses = gr.HTML(elem_id="desk-misses", **PLAIN)
        self.history = gr.HTML(elem_id="desk-evaluations", **PLAIN)

    def _wire(self) -> None:
        self.outputs = [
            self.timer, self.said, self.chosen, self.card, self.in_use, self.adopt, self.back,
            self.misses, self.history,
        ]  # fmt: skip
        self.evaluate.click(
            self.request_evaluation, [self.questions, self.against], self.outputs, **EVENT
        )
        self.chosen.input(self.show_chosen, [self.chosen], self.outputs, **EVENT)
        self.adopt.click(self.adopt_settings, [self.chosen], self.outputs, **EVENT)
        self.back.click(self.return_to_settings, [self.chosen], self.outputs, **EVENT)
        self.card.select(self.cancel_evaluation, None, self.outputs, **EVENT)
        self.timer.tick(self.poll, [self.chosen], self.outputs, **EVENT)

    def fill(self, desk: gr.Blocks, tab: gr.Tab) -> None:
        """Show the newest evaluation when the page opens and when the tab is chosen."""
        desk.load(self.show_newest, None, self.outputs, **EVENT)
        tab.select(self.show_newest, None, self.outputs, **EVENT)

    @handler(Permission.EVALUATE)
    def show_newest(self, person: Person) -> Update:
        """Show the newest evaluation."""
        with self.database.connect() as conn:
            return self._show(conn, None)

    @handler(Permission.EVALUATE)
    def show_chosen(self, person: Person, chosen: str | None) -> Update:
        """Show the evaluation chosen in the list."""
        with self.database.connect() as conn:
            return self._show(conn, _job_id(chosen))

    @handler(Permission.EVALUATE, on_problem=say_in_line)
    def poll(self, person: Person, chosen: str | None) -> Update:
        """Show how far the evaluation is, and its figures when they are there."""
        with self.database.connect() as conn:
            return self._show(conn, _job_id(chosen))

    @handler(Permission.EVALUATE)
    def request_evaluation(self, person: Person, questions: str, against: str) -> Update:
        """Queue an evaluation by a row, unless the very same waits or works already."""
        with self.database.connect() as conn:
            in_use = current_options(conn, self.settings)
            wanted = {"queries": self._queries(questions)} | _other_settings(against, in_use)
            job = request_unless_open(conn, EVALUATE, wanted)
            if job:
                audit.record(conn, person.name, Action.EVALUATION_REQUESTED, job.id)
        with self.database.connect() as conn:
            return self._show(conn, None)

    @handler(Permission.DEPLOY)
    def adopt_settings(self, person: Person, chosen: str | None) -> Update:
        """Let the chat search as the settings that won the evaluation shown."""
        if (job_id := _job_id(chosen)) is None:
            raise InvalidInput("choose an evaluation from the list")
        with self.database.connect() as conn:
            result = get_job(conn, job_id).result or {}
            adopt(conn, self.settings, job_id, result, actor=person.name)
            return self._show(conn, job_id)

    @handler(Permission.DEPLOY)
    def return_to_settings(self, person: Person, chosen: str | None) -> Update:
        """Let the chat search as the settings say again."""
        with self.database.connect() as conn:
            return_to_settings(conn, self.settings, actor=person.name)
            return self._show(conn, _job_id(chosen))

    @handler(Permission.EVALUATE)
    def cancel_evaluation(self, person: Person, event: gr.EventData) -> Update:
        """End the evaluation shown."""
        with self.database.connect() as conn:
            job = cancel_clicked(conn, event, person, EVALUATE)
            return self._show(conn, job.id)

    def _queries(self, questions: str) -> str:
        if questions == TURNS:
            return TURNS
        golden = self.settings.company / "golden.jsonl"
        if not golden.is_file():
            raise InvalidInput(f"there is no {golden}; write golden questions first")
        return str(golden)

    def _show(self, conn: Connection[Any], chosen: UUID | None) -> Update:
        jobs = list_jobs(conn, EVALUATE, N_SHOWN, without="misses")
        job_id = chosen or (jobs[0].id if jobs else None)
        in_use = current_options(conn, self.settings)
        adopted = in_words(in_use.differences(SearchOptions.of(self.settings)))
        job = get_job(conn, job_id) if job_id else None
        choices = [(_label(each), str(each.id)) for each in jobs]
        done = [(each, _name(each)) for each in jobs if each.result]
        return {
            self.timer: gr.Timer(active=any(job.is_open for job in jobs)),
            self.said: status_line(""),
            self.chosen: gr.Dropdown(
                choices, value=str(job.id) if job else None, visible=len(choices) > 1
            ),
            self.in_use: CARDS.in_use(adopted),
            self.adopt: gr.Button(visible=can_adopt(in_use, job.result if job else None)),
            self.back: gr.Button(visible=bool(adopted)),
            self.card: _evaluation_card(job, list_attempts(conn, job.id) if job else []),
            self.misses: _miss_list(conn, job.result["misses"]) if job and job.result else "",
            self.history: CARDS.history_table(done),
        }


def _evaluation_card(job: Job | None, attempts: Sequence[JobAttempt]) -> str:
    legs = job.result["legs"] if job and job.result else {}
    curves = {name: legs[leg]["recall_curve"] for leg, name in words.LEGS.items() if leg in legs}
    plot = recall_plot(curves) if curves else None
    title = f"Evaluation with {_name(job)}" if job else ""
    return str(CARDS.evaluation_card(job, title, attempts, plot))


def _miss_list(conn: Connection[Any], misses: Sequence[dict[str, Any]]) -> str:
    """Give the misses that name a turn its question, unless that has been erased since."""
    asked = questions_of(conn, {miss["turn_id"] for miss in misses if "turn_id" in miss})
    worded = [
        {"question": asked.get(miss.get("turn_id", ""), ERASED), "previous": "", **miss}
        for miss in misses
    ]
    uris = {uri for miss in misses for uri in (*miss["wanted"], *miss["found"])}
    return str(CARDS.miss_list(worded, articles_by_uri(conn, uris)))


def _name(job: Job) -> str:
    """Return which questions an evaluation asks, and what it compares with."""
    named = str(job.request.get("queries", ""))
    questions = "answers people judged" if named == TURNS else short_name(named)
    against = job.request.get("against") or {}
    other = ", ".join(f"{name}={value:g}" for name, value in against.items())
    return f"{questions}, against {other}" if other else questions


def _label(job: Job) -> str:
    """Return one evaluation as a line in the list to choose from."""
    state = "" if job.state == "done" else f" · {words.JOB_STATES[job.state][0].lower()}"
    return f"{moment(job.created_at)} · {_name(job)}{state}"


def _other_settings(against: str, in_use: SearchOptions) -> dict[str, Any]:
    if not against.strip():
        return {}
    changed = in_use.changed(parse_figures(against)).differences(in_use)
    if not changed:
        raise InvalidInput("these are the settings in use already; name others to compare with")
    return {"against": changed}


def _job_id(chosen: str | None) -> UUID | None:
    try:
        return UUID(chosen) if chosen else None
    except ValueError as exc:
        raise InvalidInput("choose an evaluation from the list") from exc
