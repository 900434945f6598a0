"""How the tasks' gradients lie to each other over training.

Drawn from the artefact "diagnostics" of a record.
"""

from __future__ import annotations

from pathlib import Path

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_text import literal
from mtlbench.records import GradientDiagnostics


def draw_gradients(diagnostics: GradientDiagnostics, stem: Path) -> list[Path]:
    """Cosine between the tasks' gradients of the shared weights, one line per pair of tasks."""
    pairs = sorted({pair for epoch in diagnostics.epochs for pair in epoch.cosine})
    with new_figure(7.5, 4.0) as figure:
        axes = figure.subplots()
        for pair in pairs:
            values = [epoch.cosine.get(pair) for epoch in diagnostics.epochs]
            points = [(number, value) for number, value in enumerate(values, start=1) if value is not None]
            if points:
                label = literal(pair.replace("|", " · "))
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axes.axhline(0.0, color="0.4", linewidth=0.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cosine of task gradients")
        if pairs:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
        return save_figure(figure, stem)
