"""The compact leaderboard for a terminal: fits 100 to 120 columns.

A board is first summed up as plain texts, which can be kept, so that an unchanged board is printed without its records.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from mtlbench.leaderboard import number_format
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.number_format import NumberFormat
from mtlbench.leaderboard.table import Row, Table
from mtlbench.leaderboard.table_notes import band_note

CellText = tuple[str, str]
"""Text of a cell, and how `rich` shows it: its style."""


class RowSummary(BaseModel):
    """What the terminal shows of a row."""

    rank: str
    name: str
    settings: str
    reference: bool
    cells: list[CellText]
    seeds: str


class TableSummary(BaseModel):
    """What the terminal shows of a table."""

    title: str
    headings: list[str]
    rows: list[RowSummary]
    notes: list[str]


class BoardSummary(BaseModel):
    """All that the terminal shows of a board. `differs`: protocol fields in which its tables differ."""

    dataset: str
    differs: list[str]
    tables: list[TableSummary]


def summary(board: Board) -> BoardSummary:
    """Sum up a board."""
    several = len(board.tables) > 1
    tables = [_table(table, several) for table in board.tables]
    return BoardSummary(dataset=board.dataset, differs=list(board.differs), tables=tables)


def terminal(summaries: Iterable[BoardSummary]) -> RenderableType:
    """All tables of all boards, for `rich.print`; a sentence where there is nothing to show."""
    parts: list[RenderableType] = []
    for board in summaries:
        for table in board.tables:
            parts += [_grid(table), *(Text(note, style="dim") for note in table.notes), Text("")]
        if board.differs:
            fields = ", ".join(board.differs[:6]) + (", …" if len(board.differs) > 6 else "")
            line = f"The tables of {board.dataset} follow protocols that differ in: {fields}."
            parts += [Text(line, style="dim"), Text("")]
    return Group(*parts) if parts else Text("No records yet: run `make bench` first.")


def _table(table: Table, several: bool) -> TableSummary:
    forms = number_format.number_formats(table)
    columns = [column for column in number_format.overview(table) if column.key != "rank/task"]
    return TableSummary(
        title=f"{table.dataset} · protocol {table.protocol_id}" if several else table.dataset,
        headings=[_heading(column, forms[column.key]) for column in columns],
        rows=[
            RowSummary(
                rank=number_format.rank_text(table, row),
                name=row.name,
                settings=row.settings,
                reference=row.reference,
                cells=[_cell(row, column.key, forms[column.key], table.sort) for column in columns],
                seeds=str(len(row.records)),
            )
            for row in table.rows
        ],
        notes=[*table.notes, *band_note(table)],
    )


def _heading(column: Column, form: NumberFormat) -> str:
    """Three lines: the task, the title, unit and arrow."""
    unit = f"({form.unit}) " if form.unit else ""
    return f"{column.group if column.primary else ''}\n{column.title}\n{unit}{column.arrow}"


def _cell(row: Row, key: str, form: NumberFormat, sort: str) -> CellText:
    """Δ has its interval; the others are without, to save width."""
    cell = row.cells.get(key)
    if cell is None:
        return number_format.MISSING, "dim"
    text = form.cell(cell) if key == sort else form.number(cell.mean)
    return text, {"best": "bold", "tied": "underline"}.get(cell.mark, "")


def _grid(table: TableSummary) -> Grid:
    grid = Grid(
        title=escape(table.title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    names = [f"{row.name} ({row.settings})" if row.settings else row.name for row in table.rows]
    grid.add_column("\n\nrank", justify="right", no_wrap=True)
    grid.add_column("\n\nmethod", overflow="fold", min_width=min(24, max(map(len, names))))
    for heading in table.headings:
        grid.add_column(escape(heading), justify="right", no_wrap=True)
    grid.add_column("\n\nseeds", justify="right")
    for row in table.rows:
        name = Text(row.name, style="italic" if row.reference else "")
        if row.settings:
            name.append(f" {row.settings}", style="dim")
        grid.add_row(row.rank, name, *(Text(text, style=style) for text, style in row.cells), row.seeds)
    return grid
