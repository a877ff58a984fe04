"""A retraining, the whole story: freeze, fit, gate, deploy; a retry goes on from the last one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection

from core import learning
from core.base_model import read_base_model
from core.db import Database
from core.errors import ModelUnavailable
from core.learning.runs import RETRAIN
from core.settings import Settings
from core.text import storable_text
from core.types import Deployment, RunState
from core.work import HeldJob
from training import child, dataset, deploy, promotion, registry
from training.examples import load_examples
from training.gate import replay, rules
from training.objectives import DPO
from training.signals import Caps

__all__ = ["RETRAIN", "retrain"]

ACTOR = "trainer"

Left = dict[str, Any]  # what a phase left in the job's row


class Rejected(Exception):
    """The run ends without a new adapter, for these reasons; nothing changed."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one run: what every phase needs."""

    held: HeldJob
    settings: Settings

    @property
    def id(self) -> UUID:
        """The run's id, which is its job's."""
        return self.held.job.id

    @property
    def db(self) -> Database:
        """The product's database."""
        return self.held.db

    @property
    def folder(self) -> Path:
        """The attempt's working folder."""
        return self.settings.home / "runs" / str(self.id) / f"attempt-{self.held.job.attempt}"

    def say(self, message: str) -> None:
        """Tell the pages what happens within a phase."""
        self.held.report(message=message)


def retrain(held: HeldJob, settings: Settings) -> dict[str, Any]:
    """
    Carry out the run of a job and return its outcome, promoted or rejected.

    What each phase leaves is stored with its rows, so a retry repeats only what was broken off:
    vLLM away at the gate costs no second training. Every other end is an error, for the job.
    """
    run = Run(held, settings)
    with run.db.connect() as conn:
        outcome = learning.get_run(conn, run.id).state
    if not outcome.is_final:  # else an attempt before was killed after its last transaction
        outcome = _learn(run)
    return {"outcome": outcome.value}


def _learn(run: Run) -> RunState:
    left = run.held.left
    try:
        frozen = left(RunState.FREEZING) or _freeze(run)
        fitted = left(RunState.FITTING) or _fit(run, frozen)
        _ = left(RunState.GATING) or _gate(run, frozen, fitted)
        _deploy(run, fitted)
    except (Rejected, promotion.NotPromotable) as why:
        reasons = why.reasons if isinstance(why, Rejected) else [str(why)]
        with run.db.connect() as conn:
            run.held.report_with(conn, message="")
            told = [storable_text(reason) for reason in reasons]
            learning.judge_run(conn, run.id, RunState.REJECTED, told)
        return RunState.REJECTED
    return RunState.PROMOTED


def _freeze(run: Run) -> Left:
    run.held.enter(RunState.FREEZING)
    with run.db.connect() as conn:
        examples = load_examples(conn, Caps.of(run.settings), DPO)
    try:
        frozen = dataset.freeze(examples, uuid4(), run.settings.datasets, run.settings.model)
    except dataset.TooFewExamples as exc:
        raise Rejected([str(exc)]) from exc
    with run.db.connect() as conn:
        learning.insert_dataset(
            conn,
            frozen.id,
            path=str(frozen.path),
            sha256=frozen.sha256,
            n_train=frozen.n_train,
            n_heldout=frozen.n_heldout,
            manifest=frozen.manifest,
        )
        learning.set_dataset(conn, run.id, frozen.id)
        said = f"training on {frozen.n_train} examples, {frozen.n_heldout} held out"
        return run.held.leave(conn, RunState.FREEZING, dataset=str(frozen.id), said=said)


def _fit(run: Run, frozen: Left) -> Left:
    run.held.enter(RunState.FITTING, frozen["said"])
    with run.db.connect() as conn:
        learning.forget_steps(conn, run.id)
    shutil.rmtree(run.folder, ignore_errors=True)
    config = child.write_config(run.settings, DPO, _dataset(run, frozen), run.folder)
    try:
        with child.training(config) as process:
            run.held.lease.on_lost = process.kill
            run.held.check()  # it may have been lost just before
            for report in child.events(process):
                _note_step(run, report)
    except child.Degenerated as exc:
        raise Rejected([f"training was stopped: {exc}"]) from exc
    finally:
        run.held.check()  # a child that we killed ourselves is not the story
    with run.db.connect() as conn:
        adapter = registry.register(conn, run.settings, run.folder / "adapter", run.id)
        left = run.held.leave(conn, RunState.FITTING, adapter=adapter.name)
    shutil.rmtree(run.folder / "adapter", ignore_errors=True)
    shutil.rmtree(run.folder / "adapter.work", ignore_errors=True)
    return left


def _note_step(run: Run, report: child.StepReport) -> None:
    with run.db.connect() as conn:
        run.held.report_with(conn, **asdict(report.step), total_steps=report.total_steps)
        learning.record_step(conn, run.id, report.step)


def _gate(run: Run, frozen: Left, fitted: Left) -> Left:
    """Compare the new adapter with what is live."""
    run.held.enter(RunState.GATING)
    with run.db.connect() as conn:
        adapter = learning.get_adapter(conn, fitted["adapter"])
        promotion.refuse_tainted(conn, adapter.name)
        live = learning.serving(conn, read_base_model(run.settings.model)).adapter
    with closing(deploy.client(run.settings)) as vllm:
        run.say("waiting for the model server")
        deploy.wait_until_healthy(vllm, deploy.GIVE_UP_AFTER_S, run.held.check)
        if live is not None:
            deploy.bring(run.db, run.settings)
        deploy.ensure_loaded(vllm, adapter.name, adapter.path)
        evidence = replay.measure(
            run.db,
            run.settings,
            vllm,
            candidate=adapter.name,
            live=live,
            dataset=_dataset(run, frozen),
            objective=DPO,
            on_progress=run.say,
            check=run.held.check,
        )
    report = rules.decide(evidence)
    with run.db.connect() as conn:
        learning.insert_gate_report(conn, run.id, adapter.name, live, report)
        # A report that says no is stored too, but leaves nothing to go on from.
        left = run.held.leave(conn, RunState.GATING, baseline=live) if report.passed else {}
    if not report.passed:
        raise Rejected(report.reasons)
    return left


def _deploy(run: Run, fitted: Left) -> None:
    """Ask for it to go live, and bring the model servers there."""
    name = fitted["adapter"]
    run.held.enter(RunState.DEPLOYING, f"making {name} live")
    with closing(deploy.client(run.settings)) as vllm:
        deploy.wait_until_healthy(vllm, deploy.GIVE_UP_AFTER_S, run.held.check)
    with run.db.connect() as conn:
        is_live = learning.live_adapter(conn) == name  # an attempt before came that far
        asked = None if is_live else _request_promotion(run, conn, name)
    if asked is not None:
        _bring_live(run, asked.id)
    with run.db.connect() as conn:  # not refused when cancelled just now: it is live
        learning.judge_run(conn, run.id, RunState.PROMOTED)


def _request_promotion(run: Run, conn: Connection[Any], name: str) -> Deployment:
    run.held.report_with(conn, message=f"making {name} live")  # refused once the lease is lost
    reason = f"run {run.id} passed the gate"
    return promotion.request_promotion_by_run(conn, run.settings, name, actor=ACTOR, reason=reason)


def _bring_live(run: Run, deployment_id: int) -> None:
    def bring() -> None:
        run.held.check()
        deploy.bring(run.db, run.settings)

    try:
        deploy.wait_until_live(run.db, deployment_id, deploy.GIVE_UP_AFTER_S, bring)
    except ModelUnavailable as exc:  # the next attempt asks again
        with run.db.connect() as conn:
            learning.fail_deployment(conn, deployment_id, str(exc))
        raise


def _dataset(run: Run, frozen: Left) -> Path:
    return run.settings.datasets / str(frozen["dataset"])
