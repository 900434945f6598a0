"""Numbers as text, one way for every output: decimals and unit are those of the whole column.

The CSV keeps every number in full; what is printed elsewhere is that number divided by the header's unit and rounded to
the decimals shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.table import Cell, Row, Table

MISSING = "–"
UNDEFINED = "undefined"

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
_FIXED = {"rank": 0, "skill": 3, "%": 2}


@dataclass(frozen=True)
class NumberFormat:
    """How one column is printed: the number over `scale`, with `decimals`; `unit` stands in the header."""

    scale: float
    decimals: int
    unit: str

    def number(self, value: float) -> str:
        """One number, or the word for one that is not finite. Never "-0.0"."""
        if not math.isfinite(value):
            return UNDEFINED
        text = f"{value / self.scale:.{self.decimals}f}"
        return text.lstrip("-") if float(text) == 0 else text

    def interval(self, mean: float, half: float) -> str:
        """`mean ± half`; the mean alone where there is no interval or nothing varies."""
        if not math.isfinite(mean) or not math.isfinite(half) or half == 0:
            return self.number(mean)
        return f"{self.number(mean)} ± {self.number(half)}"

    def cell(self, cell: Cell | None) -> str:
        """A cell's mean and interval."""
        return MISSING if cell is None else self.interval(cell.mean, cell.half)


SKILL = NumberFormat(1.0, _FIXED["skill"], "")
PERCENT = NumberFormat(1.0, _FIXED["%"], "%")


def number_format(column: Column, cells: Iterable[Cell]) -> NumberFormat:
    """The format of a column: four significant digits of its largest number, at most six decimals."""
    largest = max((abs(cell.mean) for cell in cells if math.isfinite(cell.mean)), default=0.0)
    scale, unit = _unit(column.unit, largest)
    if column.unit in _FIXED:
        return NumberFormat(scale, _FIXED[column.unit], unit)
    if column.unit == "count" and scale == 1:
        return NumberFormat(scale, 0, unit)
    digits = math.floor(math.log10(largest / scale)) if largest else 0
    return NumberFormat(scale, min(6, max(0, 3 - digits)), unit)


def axis_format(unit: str, largest: float) -> NumberFormat:
    """The format of an axis that reaches `largest`."""
    scale, shown = _unit(unit, largest)
    return NumberFormat(scale, 3, shown)


def number_formats(table: Table) -> dict[str, NumberFormat]:
    """Column key → its format in this table."""
    return {
        column.key: number_format(column, (row.cells[column.key] for row in table.rows if column.key in row.cells))
        for column in table.columns
    }


def header(column: Column, form: NumberFormat) -> str:
    """Title, unit and arrow, such as `FLOPs (G) ↓`."""
    unit = f" ({form.unit})" if form.unit else ""
    return f"{column.title}{unit} {column.arrow}".rstrip()


def filled(table: Table, columns: Sequence[Column]) -> list[Column]:
    """The columns that have a number in some row."""
    return [column for column in columns if any(column.key in row.cells for row in table.rows)]


WIDEST = 6
"""With more tasks than that the overview shows their mean skill alone."""


def overview(table: Table) -> list[Column]:
    """The compact leaderboard: rank, Δ, skill, every task's primary metric, the size and the cost."""
    primary = [column.key for column in table.columns if column.primary] if len(table.tasks) <= WIDEST else []
    keys = ["rank/task", "delta/task", "mean_skill", *primary, "parameters", "flops"]
    return filled(table, [table.column(key) for key in keys])


def rank_text(table: Table, row: Row) -> str:
    """`1`, `2 =` for a row that cannot be separated from the best, the reason where a row has no rank."""
    if row.reference:
        return "ref."
    if not row.ranked:
        return "1 seed" if len(row.records) == 1 else MISSING
    tie = " =" if row.cells[table.sort].mark == "tied" else ""
    return f"{row.cells['rank/task'].mean:.0f}{tie}"


def short(value: float, unit: str = "") -> str:
    """A single number with its own prefix, such as `11.2 M`: for captions and axes, never for tables."""
    scale, shown = _unit(unit, abs(value))
    return f"{value / scale:.3g} {shown}".rstrip()


def _unit(unit: str, largest: float) -> tuple[float, str]:
    if unit in ("count", "flop", "B"):
        scale, prefix = next(((scale, prefix) for scale, prefix in _PREFIXES if largest >= scale), (1.0, ""))
        return scale, prefix + ("B" if unit == "B" else "")
    if unit == "s":
        return next(((scale, name) for scale, name in _TIMES if largest >= 2 * scale), (1.0, "s"))
    return 1.0, "" if unit in ("rank", "skill") else unit
