"""Pictures of robustness: skill by severity, skill under every condition, and what an attack on one task does to others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.conditions import at_severity, attack, attacks, conditions, severities
from mtlbench.leaderboard.table import Row, Table

_MOST_PANELS = 8
"""Tasks that get a panel of their own; with more there is one panel, of the mean over tasks."""


def degradation(table: Table, stem: Path) -> list[Path]:
    """Skill against severity, mean over corruptions: one panel a task, one line a method, bars are t intervals over seeds.

    No file where some row of the table was not evaluated under the same corruptions.
    """
    found = severities(table)
    if not found:
        return []
    steps = [0, *found]
    names = [task.name for task in table.tasks]
    panels: list[str | None] = [*names] if 1 < len(names) <= _MOST_PANELS else []
    panels.append(None)
    rows, look = paint.first(table), paint.look(table)
    down = 1 if len(panels) <= 4 else 2
    across = math.ceil(len(panels) / down)
    with paint.canvas(2.2 + 2.6 * across, 0.5 + 2.7 * down) as figure:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, task in zip(grid, panels, strict=False):
            for number, row in enumerate(rows):
                colour, marker = look[row.key]
                shown = [at_severity(row, severity, task) for severity in steps]
                halves = [one.half if math.isfinite(one.half) else 0.0 for one in shown]
                aside = 0.03 * (number - (len(rows) - 1) / 2)  # so that intervals do not hide each other
                axes.errorbar(
                    [severity + aside for severity in steps], [one.mean for one in shown], halves,
                    label=paint.clip(row.title) if axes is grid[0] else None, color=colour, marker=marker, markersize=5,
                    linewidth=1.4, capsize=2, elinewidth=0.9, linestyle="--" if row.reference else "-",
                )  # fmt: skip
            axes.set_title("mean over tasks" if task is None else paint.clip(task, 24), fontsize=9.5)
            axes.set_xticks(steps, ["clean", *map(str, found)])
            axes.tick_params(labelbottom=True)  # the last panel of a row may have none below
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        figure.supxlabel(paint.titled("severity", len(rows), len(table.rows)), fontsize=9.5)
        figure.supylabel("skill ↑, mean over corruptions", fontsize=9.5)
        figure.legend(loc="outside right upper", fontsize=8)
        return paint.save(figure, stem)


def heat_map(table: Table, stem: Path) -> list[Path]:
    """Mean skill of every method (columns) under every corruption, shifted test set and attack on all tasks (rows).

    No file where rows have nothing but clean images in common.
    """
    shown = [one for one in conditions(table) if one.kind != "attack" or one.title.endswith(" on all")]
    if len(shown) < 2:
        return []
    rows = paint.first(table)
    values = [[one.interval(row).mean for row in rows] for one in shown]
    with paint.canvas(2.6 + 0.62 * len(rows), 1.6 + 0.27 * len(shown)) as figure:
        axes = figure.subplots()
        mesh = _matrix(axes, values, [one.title for one in shown], [row.title for row in rows])
        for place in range(1, len(shown)):
            if shown[place].kind != shown[place - 1].kind:
                axes.axhline(place - 0.5, color="white", linewidth=4)
        title = paint.titled(f"{paint.clip(table.dataset)}: mean skill", len(rows), len(table.rows))
        axes.set_title(title, loc="left", fontsize=10)
        figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=30)
        return paint.save(figure, stem)


def attack_map(table: Table, stem: Path) -> list[Path]:
    """Skill of each task (columns) when the loss of one is attacked (rows), at the largest radius: one panel a method."""
    records = [record for row in table.rows for record in row.records]
    found = attacks(records)
    if not found:
        return []
    radius = found[-1][0]
    attacked = [on for one, on in found if one == radius]
    tasks = [task.name for task in table.tasks]
    rows = paint.first(table)
    across = min(len(rows), 4)
    down = math.ceil(len(rows) / across)
    high = 0.5 + 0.3 * (len(attacked) + 1)
    with paint.canvas(1.9 + across * (0.6 + 0.5 * len(tasks)), 1.0 + down * (high + 0.5)) as figure:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        everything = [_attack_rows(row, radius, attacked, tasks) for row in rows]
        numbers = [number for values in everything for line in values for number in line if math.isfinite(number)]
        limits = (min(numbers, default=0.0), max(numbers, default=1.0))
        mesh: Any = None
        for axes, row, values in zip(grid, rows, everything, strict=False):
            mesh = _matrix(axes, values, ["no attack", *attacked], tasks, limits)
            axes.set_title(paint.clip(row.title, 24), fontsize=9)
        for axes in grid[len(rows) :]:
            axes.set_axis_off()
        figure.supylabel("attacked task", fontsize=9.5)
        title = f"{paint.clip(table.dataset)}: skill under PGD, ε = {paint.literal(radius)}/255"
        figure.suptitle(paint.titled(title, len(rows), len(table.rows)), fontsize=10)
        figure.colorbar(mesh, ax=list(grid), shrink=0.7, aspect=30)
        return paint.save(figure, stem)


PICTURES = (
    ("robustness", "Skill by severity, mean over corruptions, with 95 % t intervals over seeds", degradation),
    ("conditions", "Mean skill under every corruption (mean over severities), shifted test set and attack", heat_map),
    ("attacks", "Skill of each task when the loss of one is attacked", attack_map),
)
"""File name, caption, and what draws it; for `mtlbench.leaderboard.board.PICTURES`."""


def _attack_rows(row: Row, radius: str, attacked: Sequence[str], tasks: Sequence[str]) -> list[list[float]]:
    clean = [at_severity(row, 0, task).mean for task in tasks]
    skills = [attack(radius, on) for on in attacked]
    means = [[sum(skill(record, task) for record in row.records) / len(row.records) for task in tasks] for skill in skills]
    return [clean, *means]


def _matrix(
    axes: Any,
    values: Sequence[Sequence[float]],
    left: Sequence[str],
    top: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> Any:
    """A heat map with its numbers written into it; what is not finite stays empty."""
    finite = [number for line in values for number in line if math.isfinite(number)]
    low, high = limits or (min(finite, default=0.0), max(finite, default=1.0))
    mesh = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    axes.grid(visible=False)
    axes.set_yticks(range(len(left)), [paint.clip(name, 30) for name in left], fontsize=8)
    names = [paint.clip(name, 24) for name in top]
    axes.set_xticks(range(len(top)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    middle = (low + high) / 2
    for y, line in enumerate(values):
        for x, number in enumerate(line):
            if math.isfinite(number):
                axes.text(
                    x,
                    y,
                    f"{number:.2f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if number < middle else "black",
                )
    return mesh
