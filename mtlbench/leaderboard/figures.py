"""Figures of one table: what quality costs, task by task, and what the choice of Δ does to ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard import paint
from mtlbench.leaderboard.table import Row, Table
from mtlbench.statistics.delta import DEFINITIONS

QUALITY = {"delta/task": "Δ task (%) ↑", "mean_skill": "mean skill ↑"}


COSTS = ("flops", "parameters")


def trade_off(table: Table, stem: Path) -> list[Path]:
    """Quality (the column that sorts) against FLOPs and parameters: every seed a dot, means with intervals, Pareto fronts.

    The band is the reference's own noise. Returns no file where fewer than two rows have both numbers.
    """
    look = paint.look(table)
    rows = [row for row in table.rows if math.isfinite(row.cells[table.sort].mean)]
    priced = {cost: [row for row in rows if cost in row.cells and row.cells[cost].mean > 0] for cost in COSTS}
    costs = [cost for cost, found in priced.items() if len(found) > 1 and any(row.key in look for row in found)]
    if not costs:
        return []
    with paint.canvas(3.0 + 4.2 * len(costs), 4.2) as figure:
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for axes, cost in zip(panels, costs, strict=True):
            _trade(axes, table, priced[cost], cost)
        panels[0].set_ylabel(QUALITY[table.sort])
        panels[0].set_title(f"{paint.clip(table.dataset)}: quality against cost", loc="left")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        return paint.save(figure, stem)


def _trade(axes: Any, table: Table, rows: Sequence[Row], cost: str) -> None:
    """One panel."""
    look, column = paint.look(table), table.column(cost)
    style = text.style(column, [row.cells[cost] for row in rows])
    points = [(row.cells[cost].mean / style.scale, row.cells[table.sort].mean) for row in rows]
    paint.band(axes, table)
    front = [points[i] for i in paint.pareto(points)]
    axes.step(*zip(*front, strict=True), where="post", color="#AAAAAA", linestyle="--", zorder=1.5, label="Pareto front")
    others = [point for row, point in zip(rows, points, strict=True) if row.key not in look]
    if others:
        axes.plot(*zip(*others, strict=True), marker=".", linestyle="", color=paint.GREY, label=f"{len(others)} more")
    shown = [(row, point) for row, point in zip(rows, points, strict=True) if row.key in look]
    for row, (x, y) in shown:
        colour, marker = look[row.key]
        dot: Any = {"color": colour, "marker": marker, "markeredgecolor": "white", "markeredgewidth": 0.6, "zorder": 3}
        axes.plot([x], [y], linestyle="", markersize=7.7, label=paint.clip(row.title), **dot)
        _seeds(axes, [number / style.scale for number in row.cells[cost].values], row.cells[table.sort].values, colour)
    colours = [look[row.key][0] for row, _ in shown]
    halves = [half if math.isfinite(half := row.cells[table.sort].own) else 0.0 for row, _ in shown]
    xs, ys = ([point[i] for _, point in shown] for i in (0, 1))
    lows, highs = ([y + sign * half for y, half in zip(ys, halves, strict=True)] for sign in (-1, 1))
    axes.vlines(xs, lows, highs, colors=colours, linewidth=1.2, zorder=2.5)
    axes.locator_params(nbins=6)
    if max(x for x, _ in points) > 8 * min(x for x, _ in points):
        axes.set_xscale("log")
    axes.set_xlabel(paint.literal(text.header(column, style)))


def _seeds(axes: Any, xs: Sequence[float], ys: Sequence[float], colour: str) -> None:
    """Every seed a small ring. Lines of one colour are drawn many times faster than a collection of many."""
    ring: Any = {"markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 1}
    axes.plot(xs, ys, linestyle="", marker="o", markersize=3.6, zorder=4, **ring)


def bars(table: Table, stem: Path) -> list[Path]:
    """One panel a task: the primary metric of every row, its interval, and every seed a dot; a line at the reference."""
    rows = paint.first(table)[::-1]
    columns = [column for column in table.columns if column.primary]
    columns = columns or [table.column("mean_skill")]
    if len(columns) > 8:
        columns = [table.column("mean_skill")]
    look = paint.look(table)
    with paint.canvas(2.2 + 2.3 * len(columns), 0.9 + 0.36 * len(rows)) as figure:
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            places = [place for place, row in enumerate(rows) if column.key in row.cells]
            if not places:
                continue
            cells = [rows[place].cells[column.key] for place in places]
            colours = [look[rows[place].key][0] for place in places]
            halves = [cell.half if math.isfinite(cell.half) else 0.0 for cell in cells]
            ends = [(cell.mean - half, cell.mean + half) for cell, half in zip(cells, halves, strict=True)]
            axes.hlines(places, *zip(*ends, strict=True), colors=colours, linewidth=1.4, zorder=2)
            for place, cell, colour in zip(places, cells, colours, strict=True):
                axes.plot([cell.mean], [place], color=colour, marker="D", markersize=6.2, zorder=2.5)
                _seeds(axes, cell.values, [place] * len(cell.values), colour)
            if table.reference is not None and column.key in table.reference.cells:
                axes.axvline(table.reference.cells[column.key].mean, color="#666666", linewidth=0.8, linestyle=":")
            style = text.style(column, [row.cells[column.key] for row in rows if column.key in row.cells])
            axes.set_xlabel(paint.literal(text.header(column, style)), fontsize=8.5)
            axes.set_title(paint.clip(column.group, 18), fontsize=9.5)
            axes.tick_params(axis="x", labelsize=7.5)
            axes.locator_params(axis="x", nbins=4)
        panels[0].set_yticks(range(len(rows)), [paint.clip(row.title, 28) for row in rows])
        if more := paint.more(len(rows), len(table.rows)):
            figure.supxlabel(more, x=0.99, ha="right", fontsize=8)
        return paint.save(figure, stem)


def rank_plot(table: Table, stem: Path) -> list[Path]:
    """The rank of every row under each definition of Δ, a line a row. No file with fewer than two ranked rows."""
    ranked = [row for row in table.rows if "rank/spread" in row.cells]
    rows = [row for row in paint.first(table) if row in ranked]
    if len(rows) < 2:
        return []
    look = paint.look(table)
    places = [[row.cells[f"rank/{name}"].mean for name in DEFINITIONS] for row in rows]
    with paint.canvas(6.2, 1.4 + 0.32 * len(rows)) as figure:
        axes = figure.subplots()
        for row, place in zip(rows, places, strict=True):
            colour, marker = look[row.key]
            axes.plot(range(3), place, color=colour, marker=marker, markersize=8, linewidth=1.8)
            axes.annotate(
                paint.clip(row.title, 28),
                (2, place[-1]),
                xytext=(10, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        axes.set_xticks(range(3), [f"Δ {name}" for name in DEFINITIONS])
        axes.set_yticks(sorted({int(rank) for place in places for rank in place}))
        axes.invert_yaxis()
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("rank")
        title = f"{paint.clip(table.dataset)}: ranks under the three definitions of Δ"
        axes.set_title(paint.titled(title, len(rows), len(ranked)), loc="left", fontsize=9.5)
        return paint.save(figure, stem)
