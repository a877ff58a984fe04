"""One command makes the demo model: python -m examples.recipe.build DATA_DIR --out FOLDER."""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .calibrate import calibrate_sorry
from .circuit import install_circuit
from .loop import Schedule, Trainer
from .mix import Mixture, tokenizer_texts
from .model import Decoder, Shape, save_model
from .rows import RowWriter
from .tokenizer import END_OF_TEXT, TURN_END, save_tokenizer, token_id, train_tokenizer
from .vectors import starting_vectors

SENTENCE_ENDS = ".!?"


def build(data: Path, out: Path, work: Path, plan: Schedule) -> None:
    """
    Train tokenizer and model on the unpacked public data and write them to `out`.

    Args:
        work: Keeps the learning curve and the state; a state found there is gone on from.
    """
    mixture = Mixture(data)
    tokenizer = _tokenizer(mixture, data, work)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = new_model(tokenizer).to(device)
    trainer = Trainer(model, tokenizer, mixture, plan)
    if (work / "state.pt").exists():
        trainer.resume(work / "state.pt")
    trainer.run(work)
    calibrate_sorry(
        trainer.mean.cpu(),
        mixture,
        RowWriter(tokenizer, random.Random(7)),
        trainer.pad_id,
    )
    export(trainer.mean, tokenizer, out)
    shutil.copy(work / "curve.csv", Path(__file__).parent / "curve.csv")


def new_model(tokenizer: Tokenizer, shape: Shape | None = None) -> Decoder:
    """Return an untrained decoder that already copies and compares."""
    model = Decoder(shape or Shape())
    ends = torch.tensor([token_id(tokenizer, mark) for mark in SENTENCE_ENDS])
    install_circuit(model, starting_vectors(tokenizer), ends)
    return model


def export(model: Decoder, tokenizer: Tokenizer, out: Path) -> None:
    """Write what transformers and vLLM need to serve the model."""
    save_tokenizer(tokenizer, out, model.shape.max_tokens)
    end, pad = (token_id(tokenizer, token) for token in (TURN_END, END_OF_TEXT))
    save_model(model, out, (end, pad), pad)


def _tokenizer(mixture: Mixture, data: Path, work: Path) -> Tokenizer:
    """Return the tokenizer of this work folder; train it the first time."""
    if not (work / "tokenizer.json").exists():
        save_tokenizer(train_tokenizer(tokenizer_texts(mixture, data)), work, Shape().max_tokens)
    return Tokenizer.from_file(str(work / "tokenizer.json"))


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder the public data was unpacked to")
    parser.add_argument("--out", type=Path, default=Path("examples/model"))
    parser.add_argument("--work", type=Path, default=Path("build/model"))
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--decay-share", type=float, default=0.3)
    args = parser.parse_args()
    plan = Schedule(minutes=args.minutes, decay_share=args.decay_share)
    build(args.data, args.out, args.work, plan)


if __name__ == "__main__":
    main()
