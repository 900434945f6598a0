"""What the choice of Δ does to ranks."""

from __future__ import annotations

from pathlib import Path

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_style import first_rows, row_styles
from mtlbench.leaderboard.plot_text import shortened, title_of_rows
from mtlbench.leaderboard.table import Table
from mtlbench.statistics.delta import DEFINITIONS


def draw(table: Table, stem: Path) -> list[Path]:
    """The rank of every row under each definition of Δ, one line per row. No file with fewer than two ranked rows."""
    ranked = [row for row in table.rows if "rank/spread" in row.cells]
    rows = [row for row in first_rows(table) if row in ranked]
    if len(rows) < 2:
        return []
    styles = row_styles(table)
    ranks = [[row.cells[f"rank/{name}"].mean for name in DEFINITIONS] for row in rows]
    with new_figure(6.2, 1.4 + 0.32 * len(rows)) as figure:
        axes = figure.subplots()
        for row, own in zip(rows, ranks, strict=True):
            colour, marker = styles[row.key]
            axes.plot(range(3), own, color=colour, marker=marker, markersize=8, linewidth=1.8)
            axes.annotate(
                shortened(row.title, 28), (2, own[-1]), xytext=(10, 0), textcoords="offset points", va="center", color=colour
            )
        axes.set_xticks(range(3), [f"Δ {name}" for name in DEFINITIONS])
        axes.set_yticks(sorted({int(rank) for own in ranks for rank in own}))
        axes.invert_yaxis()
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("rank")
        title = f"{shortened(table.dataset)}: ranks under the three definitions of Δ"
        axes.set_title(title_of_rows(title, len(rows), len(ranked)), loc="left", fontsize=9.5)
        return save_figure(figure, stem)
