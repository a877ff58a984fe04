"""The picture that `ratchet demo` leaves: the win rate before and after."""

from __future__ import annotations

from pathlib import Path

from training.gate.statistics import wilson_interval


def draw(path: Path, before: float, after: float, n_heldout: int) -> Path:
    """Write the picture of the two win rates with their 95 % Wilson intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for place, (label, value, colour) in enumerate(
        [("before", before, "#9aa5b1"), ("after", after, "#2f7d5b")]
    ):
        low, high = wilson_interval(value * n_heldout, n_heldout)
        axes.bar(place, value, width=0.55, color=colour)
        axes.errorbar(place, value, [[value - low], [high - value]], color="#333", capsize=6)
        axes.text(place + 0.06, value + 0.02, f"{value:.0%}", fontsize=13, fontweight="bold")
        axes.text(place, -0.06, label, ha="center", va="top", fontsize=11)
    axes.set(ylim=(0, 1.08), xlim=(-0.6, 1.6), xticks=[], ylabel="win rate")
    axes.set_title(f"Answers customers would like, {n_heldout} questions never trained on")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
