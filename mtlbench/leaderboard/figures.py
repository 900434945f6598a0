"""Figures of one table: what quality costs."""

from __future__ import annotations

import math
from pathlib import Path

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard import paint
from mtlbench.leaderboard.table import Table

QUALITY = {"delta/task": "Δ task (%) ↑", "mean_skill": "mean skill ↑"}


def trade_off(table: Table, cost: str, stem: Path) -> list[Path]:
    """Quality (the column that sorts) against a cost, every seed a dot, the mean with its interval, the Pareto front.

    The band is the reference's own noise. Returns no file where fewer than two rows have both numbers.
    """
    rows = [row for row in table.rows if cost in row.cells and math.isfinite(row.cells[table.sort].mean)]
    rows = [row for row in rows if row.cells[cost].mean > 0]
    if len(rows) < 2:
        return []
    column = table.column(cost)
    style = text.style(column, [row.cells[cost] for row in rows])
    points = [(row.cells[cost].mean / style.scale, row.cells[table.sort].mean) for row in rows]
    look = paint.look(table)
    with paint.canvas(7.6, 4.2) as figure:
        axes = figure.subplots()
        band = table.band.get("task", math.nan)
        if table.sort == "delta/task":
            axes.axhline(0, color="#666666", linewidth=0.8)
            if math.isfinite(band):
                axes.axhspan(-band, band, color="#000000", alpha=0.06, linewidth=0, label="reference ± noise")
        front = paint.pareto(points)
        axes.plot(
            *zip(*(points[i] for i in front), strict=True),
            color="#BBBBBB",
            linewidth=1.4,
            linestyle="--",
            zorder=1.5,
            label="Pareto front",
        )
        for row, (x, y) in zip(rows, points, strict=True):
            colour, marker = look.get(row.key, (paint.GREY, "."))
            cell = row.cells[table.sort]
            seeds = [number / style.scale for number in row.cells[cost].values]
            axes.plot(seeds, cell.values, marker=".", markersize=5, linestyle="", color=colour, alpha=0.45, zorder=2)
            half = cell.own if math.isfinite(cell.own) else 0.0
            label = paint.clip(row.title) if row.key in look else None
            axes.errorbar(
                [x], [y], [half] if half else None, label=label, color=colour, marker=marker, markersize=7, capsize=2.5,
                linewidth=1.1, linestyle="", markeredgecolor="white", markeredgewidth=0.6, zorder=3,
            )  # fmt: skip
        xs = [x for x, _ in points]
        if max(xs) > 8 * min(xs):
            axes.set_xscale("log")
        axes.set_xlabel(text.header(column, style))
        axes.set_ylabel(QUALITY[table.sort])
        axes.set_title(
            f"{paint.clip(table.dataset, 40)}: {QUALITY[table.sort].split(' (')[0].rstrip(' ↑')} against {column.title}",
            loc="left",
        )
        figure.legend(loc="outside right upper", fontsize=8)
        return paint.save(figure, stem)
