"""The learning page: what is live, training runs as they go, their gate reports, the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import gradio as gr
import pandas as pd
from psycopg import Connection

from bot.desk import words
from bot.desk.cards import CLICKABLE, PLAIN, load_cards, moment, status_line
from bot.desk.deploying import Deploying, DeploymentChoices, UnconfirmedDeployment
from bot.desk.jobs import cancel_clicked
from bot.desk.learning_overview import fingerprint, load_overview
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.attempts import list_attempts
from core.audit import Action
from core.base_model import read_base_model
from core.errors import InvalidInput, RatchetError
from core.jobs import get_job
from core.learning import (
    gate_report_of,
    get_run,
    list_runs,
    request_run,
    run_steps,
)
from core.learning.runs import RETRAIN
from core.people import Permission, Person
from core.types import TrainingRun, TrainingStep
from training.signals import Caps

CARDS = load_cards("learning")
POLL_S = 1.5


@dataclass(frozen=True, slots=True)
class LearningView:
    """What the page shows: a mark of the rows it was made from, the run, what can go live."""

    mark: str = ""  # empty: shows nothing, or nothing new enough
    run_id: UUID | None = None  # chosen by hand; None follows the newest
    choices: DeploymentChoices | None = None


class LearningPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.database = services.database
        self.base = read_base_model(services.settings.model)
        self.caps = Caps.of(services.settings)
        self._lay_out(services)
        self._wire()

    def _lay_out(self, services: Services) -> None:
        self.view = gr.State(LearningView())
        self.timer = gr.Timer(POLL_S)
        with gr.Row(elem_classes="live-bar"):
            self.live = gr.HTML(elem_id="desk-live", **PLAIN)
            self.train = gr.Button("Train now", variant="primary", size="md", elem_id="desk-train")
        self.said = gr.HTML(visible=False, elem_id="desk-learning-said", **PLAIN)
        self.run = gr.Dropdown([], label="Training run", elem_id="desk-run", filterable=False)
        self.card = gr.HTML(elem_id="desk-run-card", **CLICKABLE)
        with gr.Row(visible=False) as self.plots:
            self.loss = _plot("loss", "Loss (lower is better)")
            self.margin = _plot("margin", "Margin (higher is better)")
        self.adapters = gr.HTML(elem_id="desk-adapters", **PLAIN)
        self.deploying = Deploying(services)
        self.log = gr.HTML(elem_id="desk-log", **PLAIN)

    def _wire(self) -> None:
        of_run = [self.view, self.card, self.plots, self.loss, self.margin]
        self.outputs = [
            *of_run, self.live, self.said, self.run, self.adapters, self.log,
            *self.deploying.outputs,
        ]  # fmt: skip
        self.train.click(self.train_now, None, self.outputs, **EVENT)
        self.run.input(self.show_run, [self.view, self.run], of_run, **EVENT)
        self.card.select(self.cancel_run, [self.view], self.outputs, **EVENT)
        self.timer.tick(self.poll, [self.view], self.outputs, **EVENT)
        self.deploying.yes.click(
            self.carry_out, [self.view, self.deploying.unconfirmed], self.outputs, **EVENT
        )

    def fill(self, desk: gr.Blocks) -> None:
        """Show where learning stands when the page opens."""
        desk.load(self.show_newest, None, self.outputs, **EVENT)

    @handler(Permission.TRAIN)
    def show_newest(self, person: Person) -> Update:
        """Show everything, with the newest run chosen."""
        with self.database.connect() as conn:
            return self._everything(conn, LearningView())

    @handler(Permission.TRAIN)
    def show_run(self, person: Person, view: LearningView, run_id: str) -> Update:
        """Show the run chosen in the list."""
        with self.database.connect() as conn:
            return self._one_run(conn, replace(view, run_id=_run_id(run_id)))

    @handler(Permission.TRAIN)
    def train_now(self, person: Person) -> Update:
        """Queue a run by a row; the trainer finds it there."""
        with self.database.connect() as conn:
            run = request_run(conn, "button")
            if run:
                audit.record(conn, person.name, Action.TRAINING_REQUESTED, run.id)
        said = (
            "Queued. The trainer takes it within a minute; you may leave this page."
            if run
            else "A run is at work already. Wait for it to end, then start another."
        )
        with self.database.connect() as conn:
            return self._everything(conn, LearningView()) | {self.said: status_line(said)}

    @handler(Permission.TRAIN)
    def cancel_run(self, person: Person, view: LearningView, event: gr.EventData) -> Update:
        """End the run shown; what is live stays live."""
        with self.database.connect() as conn:
            cancel_clicked(conn, event, person, RETRAIN)
            return self._everything(conn, view)

    @handler(Permission.DEPLOY)
    def carry_out(self, person: Person, view: LearningView, asked: UnconfirmedDeployment) -> Update:
        """Write what was confirmed, then show the log with the new row."""
        said = self.deploying.carry_out(person, asked)
        with self.database.connect() as conn:
            shown = self._everything(conn, LearningView(run_id=view.run_id))
        return shown | {self.said: status_line(said)}

    def say_problem(self, problem: RatchetError, view: LearningView) -> Update:
        """Tell what went wrong in a line, and show everything anew when a tick goes well."""
        return {self.said: status_line(str(problem)), self.view: replace(view, mark="")}

    @handler(Permission.TRAIN, on_problem=say_problem)
    def poll(self, person: Person, view: LearningView) -> Update:
        """Show what changed since the last tick."""
        with self.database.connect() as conn:
            return self._changes(conn, view)

    def _changes(self, conn: Connection[Any], view: LearningView) -> Update:
        if not view.mark:
            return self._everything(conn, view) | {self.said: status_line("")}
        if fingerprint(conn) != view.mark:
            return self._everything(conn, view)
        run = _shown_run(conn, view)
        return {self.view: view} if run is None or run.state.is_final else self._one_run(conn, view)

    def _everything(self, conn: Connection[Any], view: LearningView) -> Update:
        mark = fingerprint(conn)
        now = load_overview(conn, self.base, self.caps)
        run = _shown_run(conn, view)
        runs = [(_label(each), str(each.id)) for each in now.runs]
        choices = DeploymentChoices.of(now)
        return {
            **self._one_run(conn, LearningView(mark, view.run_id, choices)),
            self.live: CARDS.live_card(now),
            self.run: gr.Dropdown(runs, value=str(run.id) if run else None),
            self.adapters: CARDS.adapter_table(now),
            self.log: CARDS.deployment_table(now.deployments),
            # What is being chosen or confirmed stays while other rows change.
            **({} if choices == view.choices else self.deploying.show_choices(choices)),
        }

    def _one_run(self, conn: Connection[Any], view: LearningView) -> Update:
        run = _shown_run(conn, view)
        report = gate_report_of(conn, run.id) if run else None
        job = get_job(conn, run.id) if run else None
        attempts = list_attempts(conn, run.id) if run else []
        steps = run_steps(conn, run.id) if run else []
        return {
            self.view: view,
            self.card: CARDS.run_card(run, job, report, attempts),
            self.plots: gr.Row(visible=bool(steps)),
            self.loss: _points(steps, "loss"),
            self.margin: _points(steps, "margin"),
        }


def _label(run: TrainingRun) -> str:
    """Return one run as a line in the list to choose from."""
    named = f" · {run.adapter_name}" if run.adapter_name else ""
    return f"{moment(run.created_at)} · {words.RUN_STATES[run.state][0]}{named}"


def _run_id(chosen: str) -> UUID:
    try:
        return UUID(chosen)
    except (AttributeError, TypeError, ValueError) as exc:  # what no list of ours offered
        raise InvalidInput("that is no training run; choose one from the list") from exc


def _shown_run(conn: Connection[Any], view: LearningView) -> TrainingRun | None:
    if view.run_id is not None:
        return get_run(conn, view.run_id)
    return next(iter(list_runs(conn, limit=1)), None)


def _plot(column: str, title: str) -> gr.LinePlot:
    return gr.LinePlot(
        x="step",
        y=column,
        title=title,
        x_title="step",
        y_title=column,
        height=240,
        elem_id=f"desk-{column}",
        buttons=[],
    )


def _points(steps: list[TrainingStep], column: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"step": [s.step for s in steps], column: [getattr(s, column) for s in steps]}
    )
