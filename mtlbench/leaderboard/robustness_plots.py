"""Figures of robustness: skill by severity, skill under every condition, and how an attack on one task affects others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard.conditions import attack, attacks, conditions, severities, skill_at_severity
from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.frames import frame
from mtlbench.leaderboard.heat_map import draw_heat_map, two_decimals
from mtlbench.leaderboard.plot_style import first_rows, row_styles
from mtlbench.leaderboard.plot_text import literal, shortened, title_of_rows
from mtlbench.leaderboard.seed_intervals import interval_ends
from mtlbench.leaderboard.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_PANELS = 8
"""Tasks that get a panel of their own; with more there is one panel, of the mean over tasks."""

COLOURS = "cividis"


def draw_severities(table: Table, stem: Path) -> list[Path]:
    """Skill against severity, mean over corruptions: one panel per task, one line per row, t intervals over seeds.

    No file where some row of the table was not evaluated under the same corruptions.
    """
    steps = [0, *severities(table)]
    if len(steps) < 2:
        return []
    names = [task.name for task in table.tasks]
    panels: list[str | None] = [*names] if 1 < len(names) <= MOST_PANELS else []
    panels.append(None)
    rows = first_rows(table)
    down = 1 if len(panels) <= 4 else 2
    across = math.ceil(len(panels) / down)
    with new_figure(2.2 + 2.6 * across, 0.5 + 2.7 * down) as figure:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, task in zip(grid, panels, strict=False):
            _severity_panel(axes, table, steps, task)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        figure.supxlabel(title_of_rows("severity", len(rows), len(table.rows)), fontsize=9.5)
        figure.supylabel("skill ↑, mean over corruptions", fontsize=9.5)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        return save_figure(figure, stem)


def severity_values(rows: Sequence[Row], steps: Sequence[int], task: str | None) -> pd.DataFrame:
    """One line per row, seed and severity: `row`, `severity` as it is shown, `skill`."""
    lines = [
        (row.key, _severity(step), skill_at_severity(record, step, task))
        for row in rows
        for record in row.records
        for step in steps
    ]
    return frame(lines, ["row", "severity", "skill"])


def _severity(step: int) -> str:
    return str(step) if step else "clean"


def _severity_panel(axes: Axes, table: Table, steps: Sequence[int], task: str | None) -> None:
    import seaborn as sns

    rows, styles = first_rows(table), row_styles(table)
    sns.pointplot(
        severity_values(rows, steps, task),
        x="severity",
        y="skill",
        hue="row",
        order=[_severity(step) for step in steps],
        hue_order=[row.key for row in rows],
        palette={row.key: styles[row.key].colour for row in rows},
        markers=[styles[row.key].marker for row in rows],
        linestyles=["--" if row.reference else "-" for row in rows],
        dodge=0.03 * (len(rows) - 1) if len(rows) > 1 else False,  # so that intervals do not hide each other
        errorbar=interval_ends,
        markersize=5,
        linewidth=1.4,
        err_kws={"linewidth": 0.9},
        capsize=0.06,
        ax=axes,
    )
    handles, keys = axes.get_legend_handles_labels()
    titles = {row.key: shortened(row.title) for row in rows}
    for handle, key in zip(handles, keys, strict=True):
        handle.set_label(titles[key])
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.set_title("mean over tasks" if task is None else shortened(task, 24), fontsize=9.5)
    axes.tick_params(labelbottom=True)  # the last panel of a row may have none below


def draw_conditions(table: Table, stem: Path) -> list[Path]:
    """Mean skill of every row (columns) under every corruption, shifted test set and attack on all tasks (rows).

    No file where rows have nothing but clean images in common.
    """
    common = [
        condition for condition in conditions(table) if condition.kind != "attack" or condition.title.endswith(" on all")
    ]
    if len(common) < 2:
        return []
    rows = first_rows(table)
    values = [[condition.interval(row).mean for row in rows] for condition in common]
    with new_figure(2.6 + 0.62 * len(rows), 1.6 + 0.27 * len(common)) as figure:
        axes = figure.subplots()
        mesh = draw_heat_map(
            axes,
            values,
            [condition.title for condition in common],
            [row.title for row in rows],
            limits=_limits(values),
            colours=COLOURS,
            numbers=two_decimals(values),
            label_length=30,
        )
        for place in range(1, len(common)):
            if common[place].kind != common[place - 1].kind:
                axes.axhline(place, color="white", linewidth=4)
        title = title_of_rows(f"{shortened(table.dataset)}: mean skill", len(rows), len(table.rows))
        axes.set_title(title, loc="left", fontsize=10)
        figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=30)
        return save_figure(figure, stem)


def draw_attacks(table: Table, stem: Path) -> list[Path]:
    """Skill of each task (columns) when the loss of one is attacked (rows), at the largest radius: one panel per row.

    No file where rows have no attack in common.
    """
    common = attacks([record for row in table.rows for record in row.records])
    if not common:
        return []
    radius = common[-1][0]
    attacked = [task for other, task in common if other == radius]
    tasks = [task.name for task in table.tasks]
    rows = first_rows(table)
    across = min(len(rows), 4)
    down = math.ceil(len(rows) / across)
    height = 0.5 + 0.3 * (len(attacked) + 1)
    with new_figure(1.9 + across * (0.6 + 0.5 * len(tasks)), 1.0 + down * (height + 0.5)) as figure:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        tables = [_attack_skills(row, radius, attacked, tasks) for row in rows]
        limits = _limits([line for values in tables for line in values])
        meshes = [
            draw_heat_map(
                axes,
                values,
                ["no attack", *attacked],
                tasks,
                limits=limits,
                colours=COLOURS,
                numbers=two_decimals(values),
            )
            for axes, values in zip(grid, tables, strict=False)
        ]
        for axes, row in zip(grid, rows, strict=False):
            axes.set_title(shortened(row.title, 24), fontsize=9)
        for axes in grid[len(rows) :]:
            axes.set_axis_off()
        figure.supylabel("attacked task", fontsize=9.5)
        title = f"{shortened(table.dataset)}: skill under PGD, ε = {literal(radius)}/255"
        figure.suptitle(title_of_rows(title, len(rows), len(table.rows)), fontsize=10)
        figure.colorbar(meshes[0], ax=list(grid), shrink=0.7, aspect=30)
        return save_figure(figure, stem)


def _attack_skills(row: Row, radius: str, attacked: Sequence[str], tasks: Sequence[str]) -> list[list[float]]:
    """Means over seeds, without an attack and under each: [1 + attacks, tasks]."""
    skills = [lambda record, task: skill_at_severity(record, 0, task), *(attack(radius, task) for task in attacked)]
    return [[sum(skill(record, task) for record in row.records) / len(row.records) for task in tasks] for skill in skills]


def _limits(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    finite = [number for line in values for number in line if math.isfinite(number)]
    return min(finite, default=0.0), max(finite, default=1.0)


FIGURES = (
    ("robustness", "Skill by severity, mean over corruptions, with 95 % t intervals over seeds", draw_severities),
    ("conditions", "Mean skill under every corruption (mean over severities), shifted test set and attack", draw_conditions),
    ("attacks", "Skill of each task when the loss of one is attacked", draw_attacks),
)
"""File name, caption, and the function that draws it; for `mtlbench.leaderboard.board_files.FIGURES`."""
