"""The learning page: what is live, training runs as they go, their gate reports, the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import gradio as gr
import pandas as pd
from psycopg import Connection

from bot.desk.deploying import Deploying, Offered, Pending
from bot.desk.learning_cards import adapter_table, deployment_table, live_card, run_card, run_label
from bot.desk.markup import PLAIN, status
from bot.desk.standing import fingerprint, load_standing
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core import audit
from core.audit import Action
from core.errors import InvalidInput, RatchetError
from core.jobs import list_attempts
from core.learning import (
    gate_report_of,
    get_run,
    list_runs,
    request_run,
    run_steps,
)
from core.people import Permission, Person
from core.types import TrainingRun, TrainingStep
from training.signals import Caps

POLL_S = 1.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page shows: a mark of the rows it was made from, the run, what can go live."""

    mark: str = ""  # empty: shows nothing, or nothing new enough
    run_id: UUID | None = None  # chosen by hand; None follows the newest
    offered: Offered | None = None


class LearningPage:
    """The page's components and what happens when they are used."""

    def __init__(self, services: Services) -> None:
        self.database = services.database
        settings = services.settings
        self.caps = Caps.of(settings)
        self._lay_out(services)
        self._wire()

    def _lay_out(self, services: Services) -> None:
        self.seen = gr.State(Seen())
        self.timer = gr.Timer(POLL_S)
        with gr.Row(elem_classes="live-bar"):
            self.live = gr.HTML(elem_id="desk-live", **PLAIN)
            self.train = gr.Button("Train now", variant="primary", size="md", elem_id="desk-train")
        self.said = gr.HTML(visible=False, elem_id="desk-learning-said", **PLAIN)
        self.run = gr.Dropdown([], label="Training run", elem_id="desk-run", filterable=False)
        self.card = gr.HTML(elem_id="desk-run-card", **PLAIN)
        with gr.Row(visible=False) as self.plots:
            self.loss = _plot("loss", "Loss (lower is better)")
            self.margin = _plot("margin", "Margin (higher is better)")
        self.adapters = gr.HTML(elem_id="desk-adapters", **PLAIN)
        self.deploying = Deploying(services)
        self.log = gr.HTML(elem_id="desk-log", **PLAIN)

    def _wire(self) -> None:
        of_run = [self.seen, self.card, self.plots, self.loss, self.margin]
        self.outputs = [
            *of_run, self.live, self.said, self.run, self.adapters, self.log,
            *self.deploying.outputs,
        ]  # fmt: skip
        self.train.click(self.train_now, None, self.outputs, **EVENT)
        self.run.input(self.show_run, [self.seen, self.run], of_run, **EVENT)
        self.timer.tick(self.poll, [self.seen], self.outputs, **EVENT)
        self.deploying.yes.click(
            self.carry_out, [self.seen, self.deploying.pending], self.outputs, **EVENT
        )

    def fill(self, desk: gr.Blocks) -> None:
        """Show where learning stands when the page opens."""
        desk.load(self.show_newest, None, self.outputs, **EVENT)

    @handler(Permission.TRAIN)
    def show_newest(self, person: Person) -> Update:
        """Show everything, with the newest run chosen."""
        with self.database.connect() as conn:
            return self._everything(conn, Seen())

    @handler(Permission.TRAIN)
    def show_run(self, person: Person, seen: Seen, run_id: str) -> Update:
        """Show the run chosen in the list."""
        with self.database.connect() as conn:
            return self._one_run(conn, replace(seen, run_id=_run_id(run_id)))

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
            return self._everything(conn, Seen()) | self._say(status(said))

    @handler(Permission.DEPLOY)
    def carry_out(self, person: Person, seen: Seen, pending: Pending) -> Update:
        """Switch to what was confirmed, then show the log with the new row."""
        said = self.deploying.carry_out(person, pending)
        with self.database.connect() as conn:
            shown = self._everything(conn, Seen(run_id=seen.run_id))
        return shown | self._say(status(said))

    def tell_problem(self, problem: RatchetError, seen: Seen) -> Update:
        """Say it in a line until a tick goes well: a toast at every tick would bury the page."""
        return self._say(status(str(problem))) | {self.seen: replace(seen, mark="")}

    @handler(Permission.TRAIN, on_problem=tell_problem)
    def poll(self, person: Person, seen: Seen) -> Update:
        """Show what changed since the last tick."""
        with self.database.connect() as conn:
            return self._changes(conn, seen)

    def _changes(self, conn: Connection[Any], seen: Seen) -> Update:
        if not seen.mark:
            return self._everything(conn, seen) | self._say("")
        if fingerprint(conn) != seen.mark:
            return self._everything(conn, seen)
        run = _shown_run(conn, seen)
        return {self.seen: seen} if run is None or run.state.is_final else self._one_run(conn, seen)

    def _everything(self, conn: Connection[Any], seen: Seen) -> Update:
        mark = fingerprint(conn)
        now = load_standing(conn, self.caps)
        run = _shown_run(conn, seen)
        choices = [(run_label(known), str(known.id)) for known in now.runs]
        offered = Offered.of(now)
        return {
            **self._one_run(conn, Seen(mark, seen.run_id, offered)),
            self.live: live_card(now.live, now.since, now.counted),
            self.run: gr.Dropdown(choices, value=str(run.id) if run else None),
            self.adapters: adapter_table(
                now.adapters, now.gate_passed, now.live, now.before, now.tainted
            ),
            self.log: deployment_table(now.deployments),
            # What is being chosen or confirmed stays while other rows change.
            **({} if offered == seen.offered else self.deploying.offer(offered)),
        }

    def _say(self, line: str) -> Update:
        return {self.said: gr.HTML(line, visible=bool(line))}

    def _one_run(self, conn: Connection[Any], seen: Seen) -> Update:
        run = _shown_run(conn, seen)
        if run is None:
            nothing = {self.card: run_card(None, None, ()), self.plots: gr.Row(visible=False)}
            return {self.seen: seen, **nothing}
        steps = run_steps(conn, run.id)
        return {
            self.seen: seen,
            self.card: run_card(run, gate_report_of(conn, run.id), list_attempts(conn, run.id)),
            self.plots: gr.Row(visible=bool(steps)),
            self.loss: _points(steps, "loss"),
            self.margin: _points(steps, "margin"),
        }


def _run_id(chosen: str) -> UUID:
    try:
        return UUID(chosen)
    except (AttributeError, TypeError, ValueError) as exc:  # what no list of ours offered
        raise InvalidInput("that is no training run; choose one from the list") from exc


def _shown_run(conn: Connection[Any], seen: Seen) -> TrainingRun | None:
    if seen.run_id is not None:
        return get_run(conn, seen.run_id)
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
