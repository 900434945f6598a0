"""Sharing plans side by side: who runs what at which depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.table import Row, Table

VARIANTS = ("#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#76B7B2", "#EDC948", "#9C755F")
AT_MOST = 8
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def with_plan(table: Table) -> list[tuple[Row, int, dict[str, Any]]]:
    """Rows that can be drawn, each with the seed and plan of its first record that has one."""
    found = []
    for row in table.rows:
        for record in row.records:
            if record.result.plan and record.result.plan.get("table"):
                found.append((row, record.seed, record.result.plan))
                break
    return found[:AT_MOST]


def side_by_side(table: Table, stem: Path) -> list[Path]:
    """A column of cells a task, input at the bottom; equal colour and letter: the same weights; a dashed cell: skipped.

    Neighbours that run the same variant are joined by a bar. No file where no record has a plan.
    """
    found = with_plan(table)
    if not found:
        return []
    deepest = max(len(plan["depths"]) for _, _, plan in found)
    widths = [max(2.2, 0.62 * len(plan["tasks"])) for _, _, plan in found]
    with paint.canvas(sum(widths) + 0.9, min(9.0, 1.7 + 0.36 * deepest)) as figure:
        panels = figure.subplots(1, len(found), squeeze=False, width_ratios=widths)[0]
        for axes, (row, seed, plan) in zip(panels, found, strict=True):
            _plan(axes, plan)
            axes.set_title(f"{paint.clip(row.title, 22)}\nseed {seed}", fontsize=8.5)
        return paint.save(figure, stem)


def _plan(axes: Any, plan: dict[str, Any]) -> None:
    tasks, depths, rows = plan["tasks"], plan["depths"], plan["table"]
    labelled = len(depths) <= 24
    for depth, variants in enumerate(rows):
        for task, variant in enumerate(variants):
            shade = "none" if variant is None else VARIANTS[variant % len(VARIANTS)]
            joined = task > 0 and variant is not None and variants[task - 1] == variant
            if joined:
                axes.plot([task - 1, task], [depth, depth], color=shade, linewidth=7, solid_capstyle="butt", zorder=1)
            axes.plot(
                [task], [depth], marker="s", markersize=13 if labelled else 5, color=shade, zorder=2,
                markeredgecolor="#AAAAAA" if variant is None else "white", markeredgewidth=0.9,
            )  # fmt: skip
            if labelled:
                name = "–" if variant is None else LETTERS[variant % 26]
                axes.text(task, depth - 0.04, name, ha="center", va="center", fontsize=7.5, zorder=3,
                          color="#999999" if variant is None else "white")  # fmt: skip
    axes.set_xlim(-0.7, len(tasks) - 0.3)
    axes.set_ylim(-0.7, len(depths) - 0.3)
    axes.set_xticks(range(len(tasks)), [paint.clip(str(task), 12) for task in tasks], rotation=40, ha="right", fontsize=7.5)
    step = 1 if labelled else max(1, len(depths) // 12)
    axes.set_yticks(range(0, len(depths), step), [paint.clip(str(name), 14) for name in depths[::step]], fontsize=7)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
