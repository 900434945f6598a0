"""Sharing plans side by side: who runs what at which depth."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.table import Row, Table

VARIANTS = ("#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#76B7B2", "#EDC948", "#9C755F")
AT_MOST = 8
GAP = 2.6
"""Cells between two plans."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def with_plan(table: Table) -> list[tuple[Row, int, dict[str, Any]]]:
    """Rows that have a plan, each with the seed and plan of its first record that has one."""
    found = []
    for row in table.rows:
        for record in row.records:
            if record.result.plan and record.result.plan.get("table"):
                found.append((row, record.seed, record.result.plan))
                break
    return found


def side_by_side(table: Table, stem: Path) -> list[Path]:
    """A column of cells a task, input at the bottom; equal colour and letter: the same weights; an empty cell: skipped.

    Neighbours that run the same variant are joined by a bar. No file where no record has a plan.
    """
    planned = with_plan(table)
    found = planned[:AT_MOST]
    if not found:
        return []
    deepest = max(len(plan["depths"]) for _, _, plan in found)
    widths = [len(plan["tasks"]) + GAP for _, _, plan in found]
    cell = min(0.36, 8.0 / deepest)
    margins = (1.5 * GAP, 2.6, 1.6)  # left, below, above: depth names, task names, titles; in cells
    width, height = sum(widths) + margins[0] - GAP + 0.8, deepest + margins[1] + margins[2]
    with paint.canvas(0.36 * width, cell * height + (0.36 - cell) * 4, layout=None) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-margins[0], width - margins[0])
        axes.set_ylim(-margins[1], deepest + margins[2] - 0.4)
        left = 0.0
        named: list[str] = []
        for (row, seed, plan), needed in zip(found, widths, strict=True):
            _cells(axes, plan, left, cell)
            if plan["depths"] != named:
                named = plan["depths"]
                _depths(axes, named, left)
            for task, name in enumerate(plan["tasks"]):
                axes.text(
                    left + task + 0.2, -0.8, paint.clip(str(name), 12), rotation=40, ha="right", va="top", fontsize=7.5
                )
            middle = left + (len(plan["tasks"]) - 1) / 2
            axes.text(
                middle, deepest - 0.2, f"{paint.clip(row.title, 20)}\nseed {seed}", ha="center", va="bottom", fontsize=8
            )
            left += needed
        if more := paint.more(len(found), len(planned)):
            axes.text(width - margins[0] - 0.2, 0.2 - margins[1], more, ha="right", va="bottom", fontsize=7.5)
        return paint.save(figure, stem)


def _depths(axes: Any, names: list[str], left: float) -> None:
    step = max(1, len(names) // 24)
    for depth in range(0, len(names), step):
        axes.text(left - 0.7, depth, paint.clip(str(names[depth]), 14), ha="right", va="center", fontsize=7)


def _cells(axes: Any, plan: dict[str, Any], left: float, cell: float) -> None:
    """All cells of one variant are one artist, and all bars between them: pictures of deep networks stay fast."""
    places: dict[int | None, list[tuple[float, float]]] = defaultdict(list)
    bars: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for depth, variants in enumerate(plan["table"]):
        for task, variant in enumerate(variants):
            places[variant].append((left + task, depth))
            if task and variant is not None and variants[task - 1] == variant:
                bars[variant] += [(left + task - 1, depth), (left + task, depth), paint.BREAK]
    for variant, points in sorted(bars.items()):
        axes.plot(*zip(*points, strict=True), color=VARIANTS[variant % len(VARIANTS)], linewidth=18 * cell, zorder=1)
    for variant, found in sorted(places.items(), key=lambda item: -1 if item[0] is None else item[0]):
        xs, ys = zip(*found, strict=True)
        size = (52 * cell) ** 2
        if variant is None:
            axes.scatter(xs, ys, size, marker="s", facecolor="none", edgecolor="#AAAAAA", linewidth=0.9, zorder=2)
            continue
        axes.scatter(xs, ys, size, marker="s", color=VARIANTS[variant % len(VARIANTS)], edgecolor="white", zorder=2)
        axes.scatter(xs, ys, size / 5, marker=_letter(variant), color="white", linewidth=0.2, zorder=3)


@lru_cache(maxsize=len(LETTERS))
def _letter(variant: int) -> Any:
    """A letter as a marker: its outline is made once for all plans."""
    from matplotlib.markers import MarkerStyle

    return MarkerStyle(rf"$\mathsf{{{LETTERS[variant % len(LETTERS)]}}}$")
