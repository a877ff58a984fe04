"""retrain(run_id), the whole story: lease, freeze, fit, register, gate, deploy."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from billiard.exceptions import SoftTimeLimitExceeded
from psycopg import Connection

from core import learning
from core.db import Database
from core.errors import DatabaseError, LeaseLost, ModelUnavailable, RatchetError
from core.settings import Settings
from core.types import Adapter, RunState, TrainingRun, TrainingStep
from retrieval.load import storable_text
from training import child, dataset, deploy, registry
from training.examples import load_examples
from training.gate import replay, rules
from training.lease import HeldLease
from training.objectives import DPO
from training.signals import Caps

log = logging.getLogger(__name__)

VLLM_WAIT_S = 180.0  # a restart of the server takes up to a minute
MAX_REASON_CHARS = 500
ACTOR = "trainer"
TRANSIENT = (ModelUnavailable, DatabaseError, child.TrainerKilled)


class Rejected(Exception):
    """The run ends without a new adapter, for these reasons; nothing changed."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one run: what every step needs."""

    db: Database
    settings: Settings
    run: TrainingRun
    lease: HeldLease

    @property
    def folder(self) -> Path:
        """The attempt's working folder."""
        return self.settings.home / "runs" / str(self.run.id) / f"attempt-{self.run.attempt}"

    def enter(self, state: RunState, message: str) -> None:
        """Move the run on and say on the pages what happens now."""
        with self.db.connect() as conn:
            learning.advance_run(conn, self.run.id, self.lease.token, state)
            learning.note_progress(conn, self.run.id, self.lease.token, {"message": message})

    def say(self, message: str) -> None:
        """Tell the pages what happens within a state."""
        self.lease.check()
        with self.db.connect() as conn:
            learning.note_progress(conn, self.run.id, self.lease.token, {"message": message})


def retrain(db: Database, settings: Settings, run_id: UUID) -> RunState | None:
    """
    Carry out the run and return its state after it; None when it is not ours to do.

    Safe to call any number of times at once for one run: the lease decides. What may pass
    (vLLM or Postgres away, a killed trainer) leaves the run queued until its attempts are
    used up; anything else, foreseen or not, ends it as failed, with the reason in its row.
    """
    with db.connect() as conn:
        run = learning.lease_run(conn, run_id, settings.lease_s, settings.max_attempts)
    if run is None:
        return None
    try:
        with HeldLease(db, run.id, run.lease_token, settings.lease_s) as lease:
            return _carry_out(Work(db, settings, run, lease))
    except LeaseLost:
        return None  # another worker has it; whatever we did is not theirs
    except DatabaseError:
        return None  # the lease runs out, then the reaper queues the run again


def _carry_out(work: Work) -> RunState:
    """Learn, and store how that ended, whatever it was."""
    try:
        _learn(work)
    except Rejected as why:
        return _end(work, RunState.REJECTED, reasons=why.reasons, error="")
    except deploy.Tainted as why_not:
        return _end(work, RunState.REJECTED, reasons=[str(why_not)], error="")
    except LeaseLost:
        raise
    except TRANSIENT as exc:
        may_retry = work.run.attempt < work.settings.max_attempts
        return _end(work, RunState.QUEUED if may_retry else RunState.FAILED, error=str(exc))
    except RatchetError as exc:
        return _end(work, RunState.FAILED, error=str(exc))
    except SoftTimeLimitExceeded:
        return _end(work, RunState.FAILED, error="the run took longer than the worker allows")
    except Exception as exc:  # nobody knows what it is, so nothing is tried again
        log.exception("run %s, attempt %s", work.run.id, work.run.attempt)
        told = " ".join(f"unforeseen {type(exc).__name__}: {exc}".split())[:MAX_REASON_CHARS]
        return _end(work, RunState.FAILED, error=f"{told}; see the trainer's log")
    return RunState.PROMOTED


def _learn(work: Work) -> None:
    frozen = _freeze(work)
    adapter_files = _fit(work, frozen)
    adapter = _register(work, adapter_files)
    baseline = _gate(work, adapter, frozen)
    _deploy(work, adapter, baseline)


def _freeze(work: Work) -> dataset.FrozenDataset:
    with work.db.connect() as conn:
        examples = load_examples(conn, Caps.of(work.settings), DPO)
    try:
        frozen = dataset.freeze(examples, uuid4(), work.settings.datasets, work.settings.model)
    except dataset.TooFewExamples as exc:
        raise Rejected([str(exc)]) from exc
    with work.db.connect() as conn:
        learning.insert_dataset(
            conn,
            frozen.id,
            path=str(frozen.path),
            sha256=frozen.sha256,
            n_train=frozen.n_train,
            n_heldout=frozen.n_heldout,
            manifest=frozen.manifest,
        )
        token = work.lease.token
        learning.advance_run(conn, work.run.id, token, RunState.FITTING, dataset_id=frozen.id)
    return frozen


def _fit(work: Work, frozen: dataset.FrozenDataset) -> Path:
    work.say(f"training on {frozen.n_train} examples, {frozen.n_heldout} held out")
    shutil.rmtree(work.folder, ignore_errors=True)
    config = child.write_config(work.settings, DPO, frozen.path, work.folder)
    try:
        with child.training(config) as process:
            work.lease.on_lost = process.kill
            for event in child.events(process):
                _note_step(work, event)
    except child.Degenerated as exc:
        raise Rejected([f"training was stopped: {exc}"]) from exc
    finally:
        work.lease.check()  # a child that we killed ourselves is not the story
    return work.folder / "adapter"


def _note_step(work: Work, event: dict[str, float]) -> None:
    step = TrainingStep(int(event["step"]), event["loss"], event["margin"], event["accuracy"])
    with work.db.connect() as conn:
        learning.record_step(conn, work.run.id, work.lease.token, step)
        learning.note_progress(conn, work.run.id, work.lease.token, dict(event))


def _register(work: Work, files: Path) -> Adapter:
    with work.db.connect() as conn:
        learning.advance_run(conn, work.run.id, work.lease.token, RunState.GATING)
        adapter = registry.register(conn, work.settings, files, work.run.id)
    shutil.rmtree(work.folder / "adapter", ignore_errors=True)
    shutil.rmtree(work.folder / "adapter.work", ignore_errors=True)
    return adapter


def _gate(work: Work, adapter: Adapter, frozen: dataset.FrozenDataset) -> str | None:
    """Compare with what is live, and return its name."""
    with work.db.connect() as conn:
        deploy.refuse_tainted(conn, adapter.name)
        live = learning.live_adapter(conn)
    with closing(deploy.client(work.settings)) as vllm:
        work.say("waiting for the model server")
        deploy.wait_until_healthy(vllm, VLLM_WAIT_S, work.lease.check)
        if live is not None:
            deploy.reconcile(work.db, work.settings)
        deploy.ensure_loaded(vllm, adapter.name, adapter.path)
        evidence = replay.measure(
            work.db,
            work.settings,
            vllm,
            candidate=adapter.name,
            live=live,
            dataset=frozen.path,
            objective=DPO,
            on_progress=work.say,
        )
    report = rules.decide(evidence)
    with work.db.connect() as conn:
        learning.advance_run(conn, work.run.id, work.lease.token, RunState.GATING)
        learning.insert_gate_report(conn, work.run.id, adapter.name, live, report)
    if not report.passed:
        raise Rejected(report.reasons)
    return live


def _deploy(work: Work, adapter: Adapter, baseline: str | None) -> None:
    def end_run(conn: Connection[Any]) -> None:
        if learning.live_adapter(conn) != baseline:
            raise Rejected(["another model went live during the comparison; train again"])
        learning.advance_run(conn, work.run.id, work.lease.token, RunState.PROMOTED, error="")

    work.enter(RunState.DEPLOYING, f"making {adapter.name} live")
    deploy.promote(
        work.db,
        work.settings,
        adapter.name,
        actor=ACTOR,
        reason=f"run {work.run.id} passed the gate",
        with_row=end_run,
    )


def _end(
    work: Work, state: RunState, *, reasons: Sequence[str] | None = None, error: str | None = None
) -> RunState:
    why = None if error is None else storable_text(error)
    told = None if reasons is None else [storable_text(reason) for reason in reasons]
    with work.db.connect() as conn:
        learning.advance_run(conn, work.run.id, work.lease.token, state, reasons=told, error=why)
    deploy.reconcile(work.db, work.settings)  # a rejected candidate need not stay loaded
    return state
