"""Best-of-k curves: what a smaller budget of trials would have found, on val and on test."""

from __future__ import annotations

from pathlib import Path

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_style import row_styles
from mtlbench.leaderboard.plot_text import shortened
from mtlbench.leaderboard.tuning import TunedTable


def draw(tuned: TunedTable, stem: Path) -> list[Path]:
    """One curve per method, ± the standard deviation over sets of k trials. No file where no trial left a record."""
    styles = row_styles(tuned.table)
    curves = {method.row.key: (method.row.name, method.curve) for method in tuned.methods if method.row.key in styles}
    if not any(curve for _, curve in curves.values()):
        return []
    with new_figure(10.4, 4.2) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, split in zip(panels, ("val", "test"), strict=True):
            for key, (name, curve) in curves.items():
                style = styles[key]
                sizes = [point.k for point in curve]
                means = [getattr(point, split) for point in curve]
                spreads = [getattr(point, f"{split}_spread") for point in curve]
                lows = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
                highs = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
                axes.plot(
                    sizes, means, color=style.colour, marker=style.marker, markersize=4, label=shortened(name, 28), lw=1.4
                )
                axes.fill_between(sizes, lows, highs, color=style.colour, alpha=0.06, linewidth=0)
            axes.set_xlabel("trials, k")
            axes.set_title(f"on {split}", loc="left", fontsize=9.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("mean skill of the best of k on val ↑")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        return save_figure(figure, stem)
