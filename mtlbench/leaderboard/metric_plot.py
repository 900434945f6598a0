"""The primary metric of every task, row by row, with intervals and every seed a dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard import number_format
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.frames import frame
from mtlbench.leaderboard.plot_style import first_rows, row_styles
from mtlbench.leaderboard.plot_text import literal, rows_left_out, shortened
from mtlbench.leaderboard.seed_intervals import interval_ends
from mtlbench.leaderboard.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_TASKS = 8
"""With more tasks there is one panel, of the mean skill."""


def draw(table: Table, stem: Path) -> list[Path]:
    """One panel per task: a diamond at the mean, its t interval, a dot per seed, and a line at the reference."""
    rows = first_rows(table)
    columns = [column for column in table.columns if column.primary]
    if not 0 < len(columns) <= MOST_TASKS:
        columns = [table.column("mean_skill")]
    with new_figure(2.2 + 2.3 * len(columns), 0.9 + 0.36 * len(rows)) as figure:
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            _panel(axes, table, rows, column)
        panels[0].set_yticks(range(len(rows)), [shortened(row.title, 28) for row in rows])
        if sentence := rows_left_out(len(rows), len(table.rows)):
            figure.supxlabel(sentence, x=0.99, ha="right", fontsize=8)
        return save_figure(figure, stem)


def seed_values(rows: Sequence[Row], key: str) -> pd.DataFrame:
    """One line per row and seed, of the rows that have the column: key of the row, its place from the top, the value."""
    lines = [
        (row.key, place, value) for place, row in enumerate(rows) if key in row.cells for value in row.cells[key].values
    ]
    return frame(lines, ["row", "place", "value"])


def _panel(axes: Axes, table: Table, rows: Sequence[Row], column: Column) -> None:
    import seaborn as sns

    cells = [row.cells[column.key] for row in rows if column.key in row.cells]
    values = seed_values(rows, column.key)
    if values.empty:
        return
    # Without hues: one line of markers instead of one per row takes a third of the time.
    sns.pointplot(
        values,
        x="value",
        y="place",
        order=range(len(rows)),
        orient="h",
        errorbar=interval_ends,
        linestyle="none",
        marker="D",
        markersize=6,
        color="#555555",
        err_kws={"linewidth": 1.4},
        ax=axes,
    )
    palette = {key: style.colour for key, style in row_styles(table).items()}
    sns.scatterplot(values, x="value", y="place", hue="row", palette=palette, s=16, legend=False, zorder=4, ax=axes)
    if table.reference is not None and column.key in table.reference.cells:
        axes.axvline(table.reference.cells[column.key].mean, color="#666666", linewidth=0.8, linestyle=":")
    form = number_format.number_format(column, cells)
    axes.set_xlabel(literal(number_format.header(column, form)), fontsize=8.5)
    axes.set_ylabel("")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title(shortened(column.group, 18), fontsize=9.5)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.locator_params(axis="x", nbins=4)
