"""Sharing plans side by side: which task runs which unit at which depth."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mtlbench.leaderboard.exchange_picture import columns, draw_exchange, without_own_features
from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_style import BREAK
from mtlbench.leaderboard.plot_text import rows_left_out, shortened
from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.markers import MarkerStyle

VARIANTS = ("#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#76B7B2", "#EDC948", "#9C755F")

MOST_PLANS = 8

GAP = 2.6
"""Cells between two plans."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class RowPlan(NamedTuple):
    """The plan of a row, and the seed that it is of."""

    row: Row
    seed: int
    plan: Plan


def row_plans(table: Table) -> list[RowPlan]:
    """Rows that have a plan, each with that of its first seed that has one."""
    plans = []
    for row in table.rows:
        for record in row.records:
            if record.result.plan is not None:
                plans.append(RowPlan(row, record.seed, record.result.plan))
                break
    return plans


def draw(table: Table, stem: Path) -> list[Path]:
    """One column of cells per task, input at the bottom; equal colour and letter: the same weights; empty: skipped.

    Neighbours that run the same variant are joined by a bar. Where tasks exchange features, experts have columns before the
    tasks' (a dot: the task runs nothing but experts there), and arrows lead from what is passed on to who reads it, as wide
    as their learned weights (dotted where negative). No file where no record has a plan.
    """
    every = row_plans(table)
    plans = every[:MOST_PLANS]
    if not plans:
        return []
    deepest = max(len(plan.depths) for _, _, plan in plans)
    widths = [len(columns(plan)) + GAP for _, _, plan in plans]
    cell = min(0.36, 8.0 / deepest)
    arrows = 0.9 if any(plan.exchange for _, _, plan in plans) else 0.0  # those of the last depth lead above it
    margins = (1.5 * GAP, 2.6, 1.6 + arrows)  # left, below, above: depth names, task names, titles; in cells
    width, height = sum(widths) + margins[0] - GAP + 0.8, deepest + margins[1] + margins[2]
    with new_figure(0.36 * width, cell * height + (0.36 - cell) * 4, layout=None) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-margins[0], width - margins[0])
        axes.set_ylim(-margins[1], deepest + margins[2] - 0.4)
        left = 0.0
        named: list[str] = []
        for (row, seed, plan), needed in zip(plans, widths, strict=True):
            others = len(columns(plan)) - len(plan.tasks)
            _cells(axes, plan, left + others, cell)
            draw_exchange(axes, plan, left, cell)
            if plan.depths != named:
                named = plan.depths
                _depths(axes, named, left)
            for column, name in enumerate(columns(plan)):
                axes.text(left + column + 0.2, -0.8, shortened(name, 12), rotation=40, ha="right", va="top", fontsize=7.5)
            middle = left + (len(columns(plan)) - 1) / 2
            title = f"{shortened(row.title, 20)}\nseed {seed}"
            axes.text(middle, deepest - 0.2 + arrows, title, ha="center", va="bottom", fontsize=8)
            left += needed
        if sentence := rows_left_out(len(plans), len(every)):
            axes.text(width - margins[0] - 0.2, 0.2 - margins[1], sentence, ha="right", va="bottom", fontsize=7.5)
        return save_figure(figure, stem)


def _depths(axes: Axes, names: list[str], left: float) -> None:
    step = max(1, len(names) // 24)
    for depth in range(0, len(names), step):
        axes.text(left - 0.7, depth, shortened(names[depth], 14), ha="right", va="center", fontsize=7)


def _cells(axes: Axes, plan: Plan, left: float, cell: float) -> None:
    """All cells of one variant are one artist, and all bars between them: pictures of deep networks stay fast."""
    places: dict[int | None, list[tuple[float, float]]] = defaultdict(list)
    bars: dict[int, list[tuple[float, float]]] = defaultdict(list)
    elsewhere = without_own_features(plan)
    dots = [(left + task, depth) for task, name in enumerate(plan.tasks) for depth, of in elsewhere if of == name]
    if dots:
        xs, ys = zip(*sorted(dots), strict=True)
        axes.scatter(xs, ys, (12 * cell) ** 2, color="#AAAAAA", zorder=2)
    for depth, variants in enumerate(plan.table):
        for task, variant in enumerate(variants):
            if (depth, plan.tasks[task]) in elsewhere:
                continue
            places[variant].append((left + task, depth))
            joined = task and (depth, plan.tasks[task - 1]) not in elsewhere
            if joined and variant is not None and variants[task - 1] == variant:
                bars[variant] += [(left + task - 1, depth), (left + task, depth), BREAK]
    for variant, points in sorted(bars.items()):
        axes.plot(*zip(*points, strict=True), color=VARIANTS[variant % len(VARIANTS)], linewidth=18 * cell, zorder=1)
    size = (52 * cell) ** 2
    for variant_or_skip, centres in sorted(places.items(), key=lambda item: -1 if item[0] is None else item[0]):
        xs, ys = zip(*centres, strict=True)
        if variant_or_skip is None:
            axes.scatter(xs, ys, size, marker="s", facecolor="none", edgecolor="#AAAAAA", linewidth=0.9, zorder=2)
            continue
        colour = VARIANTS[variant_or_skip % len(VARIANTS)]
        axes.scatter(xs, ys, size, marker="s", color=colour, edgecolor="white", zorder=2)
        axes.scatter(xs, ys, size / 5, marker=_letter(variant_or_skip), color="white", linewidth=0.2, zorder=3)


@lru_cache(maxsize=len(LETTERS))
def _letter(variant: int) -> MarkerStyle:
    """A letter as a marker: its outline is made once for all plans."""
    from matplotlib.markers import MarkerStyle

    return MarkerStyle(rf"$\mathsf{{{LETTERS[variant % len(LETTERS)]}}}$")
