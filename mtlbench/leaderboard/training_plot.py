"""Training curves: val skill against what training cost so far, so that a dispute about budgets becomes a curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.number_format import axis_format, header
from mtlbench.leaderboard.plot_style import BREAK, GREY, RowStyle, first_rows, row_styles
from mtlbench.leaderboard.plot_text import literal, shortened
from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Point, Record
from mtlbench.statistics.intervals import t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = (
    Column("training_flops", "training FLOPs", "cost", "cost", 0, "flop"),
    Column("images", "training images per task", "cost", "cost", 0, "count"),
)

Curve = list[tuple[float, float, float]]
"""Cost, mean val skill over seeds, half-width of its interval."""


def draw(table: Table, stem: Path) -> list[Path]:
    """Val skill against training FLOPs and against images: one curve per row, the t interval over its seeds as a band.

    Rows beyond those that can be told apart are thin grey lines. No file where no row was validated.
    """
    of_row = {row.key: anytime(row) for row in table.rows}
    curves = {column.key: {key: of_cost[column.key] for key, of_cost in of_row.items()} for column in COSTS}
    if not any(curve for by_row in curves.values() for curve in by_row.values()):
        return []
    with new_figure(10.4, 4.0) as figure:
        panels = figure.subplots(1, len(COSTS), sharey=True)
        for axes, column in zip(panels, COSTS, strict=True):
            _panel(axes, column, first_rows(table), row_styles(table), curves[column.key])
        ends = [mean for curve in curves["images"].values() for _, mean, _ in curve]
        panels[0].set_ylim(max(-0.1, min(ends) - 0.03), max(ends) + 0.05)
        panels[0].set_ylabel("mean val skill ↑")
        panels[0].set_title(f"{shortened(table.dataset)}: val skill during training", loc="left")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        return save_figure(figure, stem)


def anytime(row: Row) -> dict[str, Curve]:
    """The mean val skill of a row's seeds after each epoch, against the mean cost so far, by the key of each cost.

    Only epochs of which every seed has a validation are shown: a mean over fewer seeds would jump.
    """
    validated = [_validated(record) for record in row.records]
    shared = sorted(set.intersection(*(set(points) for points in validated)))
    curves: dict[str, Curve] = {column.key: [] for column in COSTS}
    for epoch in shared:
        points = [points[epoch] for points in validated]
        skills = t_interval([point.val.mean_skill for point in points if point.val is not None])
        if math.isfinite(skills.mean):
            for cost, curve in curves.items():
                curve.append((sum(getattr(point, cost) for point in points) / len(points), skills.mean, skills.half))
    return curves


def _validated(record: Record) -> dict[int, Point]:
    return {point.epoch: point for point in record.result.curve if point.val is not None}


def _panel(
    axes: Axes, column: Column, rows: Sequence[Row], styles: Mapping[str, RowStyle], curves: Mapping[str, Curve]
) -> None:
    form = axis_format(column.unit, max((cost for curve in curves.values() for cost, _, _ in curve), default=0.0))
    for row in rows:
        if not curves[row.key]:
            continue
        colour, marker = styles[row.key]
        costs, means, halves = zip(*curves[row.key], strict=True)
        xs = [cost / form.scale for cost in costs]
        # About eight markers on a curve, so that it can be told from others without colour.
        every = max(1, len(xs) // 8)
        axes.plot(
            xs, means, color=colour, marker=marker, markersize=4, linewidth=1.4, markevery=every, label=shortened(row.title)
        )
        if all(math.isfinite(half) for half in halves):
            low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
            axes.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0)
    others = [curve for key, curve in curves.items() if curve and key not in styles]
    if others:
        points = [point for curve in others for point in (*((cost / form.scale, mean) for cost, mean, _ in curve), BREAK)]
        axes.plot(*zip(*points, strict=True), color=GREY, linewidth=0.6, zorder=1.5, label=f"{len(others)} more")
    axes.set_xlabel(literal(header(column, form)))
    axes.locator_params(nbins=6)
