"""Quality against cost: every seed a dot, means with intervals, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard import number_format
from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_style import GREY, draw_reference_band, row_styles
from mtlbench.leaderboard.plot_text import literal, shortened
from mtlbench.leaderboard.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUALITY = {"delta/task": "Δ task (%) ↑", "mean_skill": "mean skill ↑"}

COSTS = ("flops", "parameters")


def draw(table: Table, stem: Path) -> list[Path]:
    """Quality (the column that sorts) against FLOPs and parameters; the band is the reference's own noise.

    No file where fewer than two rows have both numbers.
    """
    styles = row_styles(table)
    rows = [row for row in table.rows if math.isfinite(row.cells[table.sort].mean)]
    priced = {cost: [row for row in rows if cost in row.cells and row.cells[cost].mean > 0] for cost in COSTS}
    costs = [cost for cost, those in priced.items() if len(those) > 1 and any(row.key in styles for row in those)]
    if not costs:
        return []
    with new_figure(3.0 + 4.2 * len(costs), 4.2) as figure:
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for axes, cost in zip(panels, costs, strict=True):
            _panel(axes, table, priced[cost], cost)
        panels[0].set_ylabel(QUALITY[table.sort])
        panels[0].set_title(f"{shortened(table.dataset)}: quality against cost", loc="left")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        return save_figure(figure, stem)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats on both: low x, high y; in order of x."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def _panel(axes: Axes, table: Table, rows: Sequence[Row], cost: str) -> None:
    styles, column = row_styles(table), table.column(cost)
    form = number_format.number_format(column, [row.cells[cost] for row in rows])
    points = [(row.cells[cost].mean / form.scale, row.cells[table.sort].mean) for row in rows]
    draw_reference_band(axes, table)
    front = [points[i] for i in pareto_front(points)]
    if len(front) > 1:  # one point has no line, and a line that cannot be seen no legend
        axes.step(*zip(*front, strict=True), where="post", color="#AAAAAA", linestyle="--", zorder=1.5, label="Pareto front")
    others = [point for row, point in zip(rows, points, strict=True) if row.key not in styles]
    if others:
        axes.plot(*zip(*others, strict=True), marker=".", linestyle="", color=GREY, label=f"{len(others)} more")
    styled = [(row, point) for row, point in zip(rows, points, strict=True) if row.key in styles]
    for row, (x, y) in styled:
        colour, marker = styles[row.key]
        axes.plot(
            [x], [y], linestyle="", marker=marker, markersize=7.7, color=colour, markeredgecolor="white",
            markeredgewidth=0.6, zorder=3, label=shortened(row.title),
        )  # fmt: skip
        # Markers of one line are drawn many times faster than a collection of many.
        axes.plot(
            [number / form.scale for number in row.cells[cost].values], row.cells[table.sort].values, linestyle="",
            marker="o", markersize=3.6, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1, zorder=4,
        )  # fmt: skip
    colours = [styles[row.key].colour for row, _ in styled]
    halves = [half if math.isfinite(half := row.cells[table.sort].own) else 0.0 for row, _ in styled]
    xs, ys = ([point[i] for _, point in styled] for i in (0, 1))
    lows, highs = ([y + sign * half for y, half in zip(ys, halves, strict=True)] for sign in (-1, 1))
    axes.vlines(xs, lows, highs, colors=colours, linewidth=1.2, zorder=2.5)
    axes.locator_params(nbins=6)
    if max(x for x, _ in points) > 8 * min(x for x, _ in points):
        axes.set_xscale("log")
    axes.set_xlabel(literal(number_format.header(column, form)))
