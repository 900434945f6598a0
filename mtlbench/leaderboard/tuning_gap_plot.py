"""What tuning gained: every method at its defaults and tuned, joined by a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_style import first_rows, row_styles
from mtlbench.leaderboard.plot_text import shortened
from mtlbench.leaderboard.table import Row
from mtlbench.leaderboard.tuning import TunedMethod, TunedTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

PANELS = (("mean_skill", "mean skill on test ↑"), ("delta/task", "Δ task (%) ↑, the reference treated alike"))


def draw(tuned: TunedTable, stem: Path) -> list[Path]:
    """Mean skill and Δ: hollow circles at the defaults, filled ones when tuned, a dot per seed. No file without defaults."""
    shown = {row.key for row in first_rows(tuned.table)}
    methods = [method for method in tuned.methods if method.untuned is not None and method.row.key in shown]
    panels = [(key, label) for key, label in PANELS if any(key in method.row.cells for method in methods)]
    if not methods:
        return []
    with new_figure(2.2 + 3.6 * len(panels), 1.1 + 0.36 * len(methods)) as figure:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (key, label) in zip(grid, panels, strict=True):
            _panel(axes, tuned, methods, key)
            axes.set_xlabel(label)
        grid[0].set_yticks(range(len(methods)), [shortened(method.row.name, 28) for method in methods])
        grid[0].set_ylim(len(methods) - 0.5, -0.5)
        handles = [
            grid[0].plot([], [], "o", color="#555555", markerfacecolor="white", markersize=6)[0],
            grid[0].plot([], [], "o", color="#555555", markersize=6)[0],
        ]
        figure.legend(handles, ["default", f"tuned, {tuned.budget} trials"], loc="outside upper right", ncols=2, fontsize=8)
        return save_figure(figure, stem)


def _panel(axes: Axes, tuned: TunedTable, methods: Sequence[TunedMethod], key: str) -> None:
    styles = row_styles(tuned.table)
    for place, method in enumerate(methods):
        assert method.untuned is not None
        before, after, colour = method.untuned[1], method.row, styles[method.row.key].colour
        if key not in before.cells or key not in after.cells:
            continue
        ends = (before.cells[key].mean, after.cells[key].mean)
        axes.plot(ends, (place, place), color=colour, linewidth=1.4, zorder=2)
        _dots(axes, before, key, place + 0.18, colour, filled=False)
        _dots(axes, after, key, place - 0.18, colour, filled=True)
        axes.plot(ends[:1], [place], "o", color=colour, markerfacecolor="white", markersize=7, zorder=3)
        axes.plot(ends[1:], [place], "o", color=colour, markersize=7, zorder=4)
    if key == "delta/task":
        axes.axvline(0, color="#666666", linewidth=0.8, linestyle=":")


def _dots(axes: Axes, row: Row, key: str, height: float, colour: str, filled: bool) -> None:
    """Every seed."""
    values = row.cells[key].values
    face = colour if filled else "white"
    axes.plot(values, [height] * len(values), "o", color=colour, markerfacecolor=face, markersize=3, alpha=0.8)
