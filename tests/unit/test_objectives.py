"""Ways to learn: DPO, and that another one is a module of its own and nothing else."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest

from core.errors import TrainingError
from core.jsonl import read_own_jsonl
from core.learning import AnswerFeedback
from core.settings import ROOT
from core.types import Correction, CorrectionStatus, TrainingStep, TurnStatus
from training.dataset import freeze, read_heldout
from training.examples import build_examples
from training.gate.replay import heldout_score
from training.gate.rules import Evidence, better_on_heldout
from training.objectives import DPO, OBJECTIVES, find_objective
from training.objectives.dpo import DpoRecipe
from training.objectives.objective import Objective
from training.recipe import Recipe
from training.signals import Caps, weigh

SPACE = UUID("00000000-0000-0000-0000-000000000003")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
RECIPE = Recipe()


@dataclass(frozen=True, slots=True)
class Imitate(Objective):
    """Learn the corrections by heart: all that a second way of learning has to bring."""

    name: str = "imitate"
    recipe: Recipe = RECIPE
    columns: tuple[str, ...] = ("completion",)

    def columns_of(self, answer, correction):
        return {"completion": [{"role": "assistant", "content": correction}]}

    def make_trainer(self, material):
        raise NotImplementedError

    def read_step(self, step, logs):
        return TrainingStep(step, logs["loss"], 0.0, 0.0)

    def fault(self, step):
        return ""

    def score(self, row, logprob):
        return logprob(row["prompt"], row["completion"][0]["content"])

    def wanted_text(self, row):
        return row["completion"][0]["content"]


class Server:
    """A model server to which the candidate gives every wanted answer a nat more."""

    def sequence_logprob(self, model, messages, answer):
        wanted = answer.startswith("Good")
        return -9.0 + (model == "candidate" and wanted)


def corrected_answers(n):
    """n answers to different questions, each with an admin's correction."""
    turn_ids = [uuid5(SPACE, str(number)) for number in range(n)]
    return [
        AnswerFeedback(
            turn_id=turn_id,
            conversation_id=turn_id,
            created_at=NOON + timedelta(minutes=number),
            status=TurnStatus.COMPLETE,
            is_deleted=False,
            messages_sha256=str(number),
            answer=f"Bad {number}.",
            corrections=(
                Correction(
                    uuid5(turn_id, "correction"), turn_id, SPACE, True, f"Good {number}.",
                    CorrectionStatus.APPROVED, NOON,
                ),
            ),
        )
        for number, turn_id in enumerate(turn_ids)
    ]  # fmt: skip


@pytest.mark.parametrize("objective", [DPO, Imitate()], ids=lambda objective: objective.name)
def test_any_objective_goes_from_signals_to_a_held_out_score(tmp_path, objective):
    """Dataset, gate and counting know no pairs; a new way of learning is one new module."""
    signals = weigh(corrected_answers(40), Caps(9, 9))
    prompts = {
        each.answer.turn_id: [{"role": "user", "content": each.answer.messages_sha256}]
        for each in signals
    }
    frozen = freeze(build_examples(signals, prompts, objective), SPACE, tmp_path, "base")
    rows = read_heldout(frozen.path)
    scores = [heldout_score(Server(), objective, row, "live", "candidate") for row in rows]
    finding = better_on_heldout(Evidence(scores, [], [], 0.0, 0))

    assert {objective.name} == {each["objective"] for each in frozen.manifest["examples"]}
    columns = {"id", "prompt", *objective.columns}
    assert all(columns == set(row) for row in read_own_jsonl(frozen.path / "train.jsonl"))
    assert {"Good"} == {objective.wanted_text(row).split()[0] for row in rows}
    assert ([], 8.0, 1.0) == (
        finding.reasons,
        finding.figures["heldout_wins"],
        finding.figures["heldout_margin_gain_nats"],
    )


def test_every_objective_is_found_by_the_name_that_manifests_carry():
    """The child process and old datasets know nothing but the name."""
    assert all(objective is find_objective(name) for name, objective in OBJECTIVES.items())
    with pytest.raises(TrainingError, match="no objective guess; there is dpo"):
        find_objective("guess")


def test_the_recipe_of_dpo_is_what_it_always_was():
    """Adapters of before and after are comparable; docs/sources.md has each number's origin."""
    recipe = DPO.recipe

    assert DpoRecipe() == recipe
    assert (8, 16, 5e-3, 4, 2, 100) == (
        recipe.rank,
        recipe.alpha,
        recipe.learning_rate,
        recipe.batch_size,
        recipe.n_epochs,
        recipe.min_steps,
    )
    assert (("sigmoid", "sft"), (1.0, 1.0), 0.1) == (
        recipe.loss_types,
        recipe.loss_weights,
        recipe.beta,
    )


def test_logs_that_are_no_step_are_not_reported():
    """The trainer's last line sums up the whole run; a step with its figures would be false."""
    logs = {"loss": 0.5, "rewards/margins": 1.25, "rewards/accuracies": 0.75}

    assert TrainingStep(3, 0.5, 1.25, 0.75) == DPO.read_step(3, logs)
    assert DPO.read_step(3, {"train_runtime": 9.0}) is None


def test_a_training_that_solves_its_task_at_once_is_stopped():
    """Answers that differ by something trivial teach just that."""
    assert "differ by something trivial" in DPO.fault(TrainingStep(3, 0.0, 12.0, 1.0))
    assert "" == DPO.fault(TrainingStep(3, 0.3, 1.2, 1.0))


def test_naming_an_objective_loads_no_trainer():
    """The page and the worker know the objectives; torch would cost each of them a gigabyte."""
    code = (
        "import sys, training.objectives, training.examples, training.gate.replay; "
        "print({'torch', 'trl', 'peft'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "set()\n" == done.stdout
