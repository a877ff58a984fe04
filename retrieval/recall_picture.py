"""An evaluation as a picture: recall over the number of articles looked at, a line per leg."""

from __future__ import annotations

from pathlib import Path

from retrieval.figures import Evaluation

LEG_NAMES = {
    "dense": "by meaning",
    "text": "by words",
    "fused": "both fused",
    "reranked": "fused and reranked",
}


def draw_recall(found: Evaluation, path: Path) -> None:
    """Draw the recall curves of an evaluation into `path`; its ending chooses PNG, SVG or PDF."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for leg, figures in found.legs.items():
        curve = figures.recall_curve
        axes.plot(range(1, len(curve) + 1), curve, marker="o", label=LEG_NAMES[leg])
    axes.set_xlabel("articles looked at")
    axes.set_ylabel("right article among them")
    axes.set_title(f"{found.n_queries} questions")
    axes.set_xticks(range(1, len(curve) + 1))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
