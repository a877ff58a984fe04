"""Promote and roll back from the learning page: choose, read what will happen, confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from bot.desk.cards import PLAIN, load_cards
from bot.desk.learning_overview import LearningOverview
from bot.desk.words import model_name
from bot.services import Services
from bot.web.handlers import EVENT, Update, handler
from core.base_model import read_base_model
from core.errors import InvalidInput
from core.learning import live_adapter, previous_live
from core.people import Permission, Person
from core.types import DeploymentKind
from core.vllm import BASE
from training import promotion

CARDS = load_cards("learning")
REASON = "from the desk"  # in the deployment log


@dataclass(frozen=True, slots=True)
class UnconfirmedDeployment:
    """What waits for a yes; `live` is what was live when the question was asked."""

    kind: DeploymentKind | None = None
    adapter: str | None = None  # None: the base model
    live: str | None = None


@dataclass(frozen=True, slots=True)
class DeploymentChoices:
    """What there is to choose from."""

    live: str | None
    before: str | None
    models: tuple[str, ...]  # that can go live: adapters, and the base model

    @classmethod
    def of(cls, now: LearningOverview) -> DeploymentChoices:
        """Return what can be chosen where learning stands so."""
        names = (adapter.name for adapter in now.adapters)
        clean = tuple(name for name in names if name not in now.tainted)
        live = now.live.resting or now.live.adapter
        return cls(live, now.before, (*clean, BASE) if clean else ())


class Deploying:
    """The row of choices under the adapters, and the question that follows a click."""

    def __init__(self, services: Services) -> None:
        self.settings = services.settings
        self.database = services.database
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        self.unconfirmed = gr.State(UnconfirmedDeployment())
        with gr.Row(visible=False, elem_classes="deploy-row") as self.choices:
            self.candidate = gr.Dropdown(
                [], label="Model", elem_id="desk-candidate", filterable=False
            )
            self.promote = gr.Button("Promote …", size="md", elem_id="desk-promote")
            self.rollback = gr.Button("Roll back …", size="md", elem_id="desk-rollback")
        with gr.Column(visible=False, elem_classes="confirm") as self.question:
            self.asked = gr.HTML(elem_id="desk-asked", **PLAIN)
            with gr.Row():
                self.yes = gr.Button("Yes", variant="stop", size="md", elem_id="desk-yes")
                self.no = gr.Button("Cancel", size="md", elem_id="desk-no")

    def _wire(self) -> None:
        asking = [self.unconfirmed, self.question, self.asked, self.yes]
        self.promote.click(self.ask_promote, [self.candidate], asking, **EVENT)
        self.rollback.click(self.ask_rollback, None, asking, **EVENT)
        self.no.click(self.cancel, None, asking, **EVENT)
        self.outputs = [self.choices, self.candidate, self.rollback, *asking]

    @handler(Permission.DEPLOY)
    def ask_promote(self, person: Person, name: str | None) -> Update:
        """Say what promoting the adapter chosen would do, above all if the gate rejected it."""
        if not name:
            raise InvalidInput("choose an adapter to promote")
        with self.database.connect() as conn:
            base, live = read_base_model(self.settings.model), live_adapter(conn)
            doubts = [] if name == BASE else promotion.gate_doubts(conn, base, name)
        adapter = None if name == BASE else name
        return self._ask(UnconfirmedDeployment(DeploymentKind.PROMOTE, adapter, live), doubts)

    @handler(Permission.DEPLOY)
    def ask_rollback(self, person: Person) -> Update:
        """Say what a rollback would bring back."""
        with self.database.connect() as conn:
            live = live_adapter(conn)
            before = previous_live(conn, read_base_model(self.settings.model))
        if live == before:
            raise InvalidInput("nothing was live before; there is nothing to roll back to")
        return self._ask(UnconfirmedDeployment(DeploymentKind.ROLLBACK, before, live), [])

    @handler(Permission.DEPLOY)
    def cancel(self, person: Person) -> Update:
        """Take the question back."""
        return self._closed()

    def carry_out(self, person: Person, asked: UnconfirmedDeployment) -> str:
        """
        Do what was confirmed and return a line that says so.

        Raises:
            InvalidInput: Nothing was asked, or another adapter went live since the question.
            RatchetError: The rules of promotion forbid it; what is live stays.
        """
        if asked.kind is None:
            raise InvalidInput("nothing to confirm; choose promote or roll back first")
        with self.database.connect() as conn:
            live = live_adapter(conn)
            if live != asked.live:
                raise InvalidInput(
                    f"{model_name(live)} went live meanwhile; look again, then repeat"
                )
            if asked.kind is DeploymentKind.ROLLBACK:
                row = promotion.request_rollback(
                    conn, self.settings, actor=person.name, reason=REASON
                )
                return f"Done: {model_name(row.adapter_name)} is live."
            # The question said what speaks against it; a yes overrules that.
            promotion.request_promotion(
                conn,
                self.settings,
                asked.adapter or BASE,
                actor=person.name,
                reason=REASON,
                overrule=True,
            )
        name = model_name(asked.adapter)
        return f"Asked for: {name} goes live once the model server has it; the log below says when."

    def show_choices(self, choices: DeploymentChoices) -> Update:
        """Return what can be promoted and rolled back to now; an open question is closed."""
        models = [name for name in choices.models if name != (choices.live or BASE)]
        labels = [model_name(None) if name == BASE else name for name in models]
        options = list(zip(labels, models, strict=True))
        return {
            self.choices: gr.Row(visible=bool(choices.models)),
            self.candidate: gr.Dropdown(options, value=models[0] if models else None),
            self.rollback: gr.Button(
                f"Roll back to {model_name(choices.before)} …",
                interactive=choices.live != choices.before,
            ),
            **self._closed(),
        }

    def _ask(self, asked: UnconfirmedDeployment, doubts: Sequence[str]) -> Update:
        return {
            self.unconfirmed: asked,
            self.question: gr.Column(visible=True),
            self.asked: CARDS.deployment_question(asked.adapter, asked.live, doubts),
            self.yes: gr.Button(f"Yes, make {model_name(asked.adapter)} live"),
        }

    def _closed(self) -> Update:
        return {self.unconfirmed: UnconfirmedDeployment(), self.question: gr.Column(visible=False)}
