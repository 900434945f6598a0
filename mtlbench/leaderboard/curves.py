"""Training curves: val skill against what training cost so far, so that a dispute about budgets becomes a curve."""

from __future__ import annotations

import math
from pathlib import Path

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard import paint
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Point, Record
from mtlbench.statistics.intervals import t_interval

AXES = (
    Column("training_flops", "training FLOPs", "cost", "cost", 0, "flop"),
    Column("images", "training images a task", "cost", "cost", 0, "count"),
)

Curve = list[tuple[float, float, float]]
"""Cost, mean val skill over seeds, half-width of its interval."""


def anytime(row: Row) -> dict[str, Curve]:
    """The mean val skill of a row's seeds after each epoch, against the mean cost so far, by the key of each cost.

    Only epochs of which every seed has a validation are shown: a mean over fewer seeds would jump.
    """
    validated = [_validated(record) for record in row.records]
    shared = sorted(set.intersection(*(set(points) for points in validated)))
    curves: dict[str, Curve] = {column.key: [] for column in AXES}
    for epoch in shared:
        points = [points[epoch] for points in validated]
        skills = t_interval([point.val.mean_skill for point in points if point.val is not None])
        if math.isfinite(skills.mean):
            for cost, curve in curves.items():
                curve.append((sum(getattr(point, cost) for point in points) / len(points), skills.mean, skills.half))
    return curves


def _validated(record: Record) -> dict[int, Point]:
    return {point.epoch: point for point in record.result.curve if point.val is not None}


def training(table: Table, stem: Path) -> list[Path]:
    """Val skill against training FLOPs and against images: one curve a row, with the t interval over its seeds as a band.

    Rows beyond those that can be told apart are thin grey lines.
    """
    rows = paint.first(table)
    look = paint.look(table)
    found = {row.key: anytime(row) for row in table.rows}
    drawn = {column.key: {key: curves[column.key] for key, curves in found.items()} for column in AXES}
    if not any(curve for curves in drawn.values() for curve in curves.values()):
        return []
    with paint.canvas(10.4, 4.0) as figure:
        panels = figure.subplots(1, len(AXES), sharey=True)
        for axes, column in zip(panels, AXES, strict=True):
            largest = max((cost for curve in drawn[column.key].values() for cost, _, _ in curve), default=0.0)
            style = text.Style(*text.prefix(column.unit, largest))
            for row in rows:
                curve = drawn[column.key][row.key]
                if not curve:
                    continue
                colour, marker = look[row.key]
                costs, means, halves = zip(*curve, strict=True)
                xs = [cost / style.scale for cost in costs]
                label = paint.clip(row.title) if column is AXES[0] else None
                axes.plot(
                    xs, means, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label, markevery=_every(xs)
                )
                if all(math.isfinite(half) for half in halves):
                    low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
                    axes.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0)
            others = [curve for key, curve in drawn[column.key].items() if curve and key not in look]
            if others:
                points = [p for curve in others for p in (*((c / style.scale, m) for c, m, _ in curve), paint.BREAK)]
                label = f"{len(others)} more" if column is AXES[0] else None
                axes.plot(*zip(*points, strict=True), color=paint.GREY, linewidth=0.6, zorder=1.5, label=label)
            axes.set_xlabel(paint.literal(text.header(column, style)))
            axes.locator_params(nbins=6)
        ends = [mean for curve in drawn["images"].values() for _, mean, _ in curve]
        panels[0].set_ylim(max(-0.1, min(ends) - 0.03), max(ends) + 0.05)
        panels[0].set_ylabel("mean val skill ↑")
        panels[0].set_title(f"{paint.clip(table.dataset)}: val skill during training", loc="left")
        figure.legend(loc="outside right upper", fontsize=8)
        return paint.save(figure, stem)


def _every(points: list[float]) -> int:
    """About eight markers on a curve, so that it can be told from others without colour."""
    return max(1, len(points) // 8)
