"""The compact leaderboard for a terminal: fits 100 to 120 columns."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.markdown import band_note
from mtlbench.leaderboard.table import Board, Row, Table


def terminal(boards: list[Board]) -> RenderableType:
    """All tables of all boards, for `rich.print`; a sentence where there is nothing to show."""
    if not boards:
        return Text("No records yet: run `make bench` first.")
    parts: list[RenderableType] = []
    for board in boards:
        for table in board.tables:
            parts += [_grid(table, several=len(board.tables) > 1), *_notes(table), Text("")]
        if board.differs:
            fields = ", ".join(list(board.differs)[:6]) + (", …" if len(board.differs) > 6 else "")
            parts += [
                Text(f"The tables of {board.dataset} follow protocols that differ in: {fields}.", style="dim"),
                Text(""),
            ]
    return Group(*parts)


def _grid(table: Table, several: bool) -> Grid:
    title = f"{table.dataset} · protocol {table.protocol_id}" if several else table.dataset
    grid = Grid(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    styles = text.styles(table)
    columns = [column for column in text.overview(table) if column.key != "rank/task"]
    grid.add_column("\n\nrank", justify="right", no_wrap=True)
    grid.add_column("\n\nmethod", overflow="fold", min_width=min(24, max(len(row.title) for row in table.rows)))
    for column in columns:
        grid.add_column(escape(_heading(column, styles[column.key])), justify="right", no_wrap=True)
    grid.add_column("\n\nseeds", justify="right")
    for row in table.rows:
        cells = [_cell(row, column.key, styles[column.key], table.sort) for column in columns]
        grid.add_row(text.rank_text(table, row), _name(row), *cells, str(len(row.records)))
    return grid


def _heading(column: Column, style: text.Style) -> str:
    """Three lines: the task, the title, unit and arrow."""
    unit = f"({style.unit}) " if style.unit else ""
    return f"{column.group if column.primary else ''}\n{column.title}\n{unit}{column.arrow}"


def _name(row: Row) -> Text:
    name = Text(row.name, style="italic" if row.reference else "")
    return name.append(f" {row.settings}", style="dim") if row.settings else name


def _cell(row: Row, key: str, style: text.Style, sort: str) -> Text:
    """Δ with its interval; the others without, to save width."""
    cell = row.cells.get(key)
    if cell is None:
        return Text(text.MISSING, style="dim")
    shown = style.cell(cell) if key == sort else style.number(cell.mean)
    return Text(shown, style={"best": "bold", "tied": "underline"}.get(cell.mark, ""))


def _notes(table: Table) -> list[RenderableType]:
    return [Text(note, style="dim") for note in [*table.notes, *band_note(table)]]
