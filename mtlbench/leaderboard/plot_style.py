"""What all figures share: colours, markers and fonts, and which rows a figure tells apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from mtlbench.leaderboard.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#A5AA99", "#B8860B", "#444444")
"""Okabe and Ito's palette, told apart with any colour vision, and some more."""

MARKERS = "osD^vPXhd<>p"

MOST_ROWS = 12
"""Rows that one figure tells apart. Where points or curves are drawn the others are grey, elsewhere a line says how many
are in the table only."""

GREY = "#999999"

BREAK = (math.nan, math.nan)
"""A point at which a line is interrupted: many lines of one style are drawn fastest as one."""

SETTINGS: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mtlbench",
}
"""matplotlib's settings. The salt makes ids in SVG files equal from run to run."""


class RowStyle(NamedTuple):
    """How a row is drawn."""

    colour: str
    marker: str


def row_styles(table: Table) -> dict[str, RowStyle]:
    """Row key → style: the first rows of the table, in the order of their names so that ranks do not recolour."""
    rows = sorted(first_rows(table), key=lambda row: (row.title, row.key))
    return {row.key: RowStyle(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, row in enumerate(rows)}


def first_rows(table: Table) -> list[Row]:
    """The rows that a figure tells apart: the first of the table, the reference among them."""
    rows = table.rows[:MOST_ROWS]
    reference = table.reference
    return rows if reference is None or reference in rows else [*rows[: MOST_ROWS - 1], reference]


def draw_reference_band(axes: Axes, table: Table) -> None:
    """The line of the single-task reference and the band of its own noise, in a figure of Δ task."""
    if table.sort != "delta/task":
        return
    axes.axhline(0, color="#666666", linewidth=0.8)
    half = table.band.get("task", math.nan)
    if math.isfinite(half):
        axes.axhspan(-half, half, color="#000000", alpha=0.06, linewidth=0, label="reference ± its noise")
