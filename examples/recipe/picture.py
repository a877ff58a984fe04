"""The learning curve as a picture: python -m examples.recipe.picture CURVE.csv OUT.png."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

LINES = {
    "invented1_answer": "new invented articles, 1 passage",
    "invented2_answer": "… 2 passages",
    "invented3_answer": "… 3 passages",
    "dstc113_answer": "DSTC11 held out",
    "squad1_answer": "SQuAD held out, 1 passage",
    "squad3_answer": "… 3 passages",
    "invented3_sorry": 'says "Sorry" where nothing answers',
}


def draw_curve(curve: Path, out: Path) -> None:
    """Plot the share of exactly reproduced answers over the tokens trained on."""
    with curve.open(newline="") as file:
        rows = list(csv.DictReader(file))
    millions = [int(row["tokens"]) / 1e6 for row in rows]
    figure, axes = plt.subplots(figsize=(10, 4.5))
    for name, label in LINES.items():
        style = "--" if name.endswith("sorry") else "-"
        axes.plot(millions, [float(row[name] or "nan") for row in rows], style, label=label)
    axes.set(xlabel="million tokens trained on", ylabel="share of answers", ylim=(0, 1))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw_curve(Path(sys.argv[1]), Path(sys.argv[2]))
