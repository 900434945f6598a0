"""Markdown: a README a dataset, made to be read where the repository is browsed."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.robustness_tables import grids
from mtlbench.leaderboard.table import Board, Cell, Row, Table

SECTIONS = (
    ("task metrics", "Task metrics"),
    ("delta", "Δ and ranks"),
    ("cost", "Cost"),
    ("robustness", "Robustness"),
    ("other", "Other measures"),
)

HOW_TO_READ = (
    "Every number is the mean over seeds ± the half-width of its 95 % t interval, on test, at the epoch selected on val. "
    "**Bold** is the best of a column, <u>underlined</u> what Tukey-Kramer cannot separate from it at 95 % over the column; "
    "rows with one seed and the single-task reference take no part. Δ is the gain over single-task networks in percent, "
    "higher is better; its interval carries the reference's noise. Skill is 0 for the best constant prediction, 1 for a "
    "perfect one. FLOPs are of the deployed network for one image and all tasks, 2 a multiply-add, convolutions and matrix "
    "products only. "
    "Numbers are those of [leaderboard.csv](leaderboard.csv), divided by the unit in the header and rounded; "
    "[seeds.csv](seeds.csv) has every seed."
)

SKILL = text.Style(1.0, 3, "")
"""How a skill is printed outside the columns."""


def board(board: Board, figures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The README of one dataset.

    Args:
        figures: protocol id → (name of a PNG beside the README without its suffix, caption).
    """
    parts = [f"# {escape(board.dataset)}", HOW_TO_READ]
    if len(board.tables) > 1:
        parts.append(_differences(board))
    for number, table in enumerate(board.tables, start=1):
        parts += _table(table, number, len(board.tables), figures.get(table.protocol_id, ()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table, number: int, of: int, figures: Sequence[tuple[str, str]]) -> list[str]:
    title = f"Protocol `{table.protocol_id}`"
    parts = [f"## {title}" if of == 1 else f"## {number}. {title}", _grid(table, text.overview(table), ranks=True)]
    parts.append("\n".join(f"- {escape(note)}" for note in [*table.notes, *band_note(table)]))
    parts += [f"![{escape(caption)}]({stem}.png)" for stem, caption in figures]
    for section, heading in SECTIONS:
        columns = text.filled(table, [column for column in table.columns if column.section == section])
        if section == "task metrics":
            for group in dict.fromkeys(column.group for column in columns):
                inside = [column for column in columns if column.group == group]
                if group != "skill":
                    parts += [f"### {escape(group)}", _grid(table, inside)]
        elif section == "robustness":
            parts += _robustness(table, heading, columns)
        elif columns:
            parts += [f"### {heading}", _grid(table, columns)]
    parts += ["### Seeds and settings", _settings(table), "### Protocol", _card(table)]
    return parts


def _robustness(table: Table, heading: str, columns: Sequence[Column]) -> list[str]:
    """The summary, then a grid a kind of condition. Shifted test sets are columns of both; here they stand in their grid."""
    columns = [column for column in columns if not column.key.startswith("shifted/")]
    found, rows = grids(table), {row.key: row for row in table.rows}
    parts = [f"### {heading}"] if columns or found else []
    parts += [_grid(table, columns)] if columns else []
    for grid in found:
        lines = [[*grid.names, *map(escape, grid.titles)], [*[":--"] * len(grid.names), *["--:"] * len(grid.titles)]]
        for key, names, cells in grid.lines:
            lines.append([name(rows[key]), *map(escape, names), *(_marked(cell, SKILL) for cell in cells)])
        parts += [f"#### {escape(grid.heading)}", _lines(lines)]
    if found:
        parts.append("Every cell, task and seed: [robustness.csv](robustness.csv).")
    return parts


def band_note(table: Table) -> list[str]:
    """The reference's own noise, one band common to all rows."""
    finite = {name: half for name, half in table.band.items() if half == half}
    if not finite:
        return []
    halves = ", ".join(f"{name} ± {half:.2f}" for name, half in finite.items())
    return [f"The reference's own noise, one band common to all rows, in % of Δ: {halves}."]


def _grid(table: Table, columns: Sequence[Column], ranks: bool = False) -> str:
    styles = text.styles(table)
    columns = [column for column in columns if not (ranks and column.key == "rank/task")]
    head = ["rank"] * ranks + ["method"] + [_heading(table, column, styles) for column in columns] + ["seeds"] * ranks
    align = ["--:"] * ranks + [":--"] + ["--:"] * (len(columns) + ranks)
    lines = [head, align]
    for row in table.rows:
        cells = [_marked(row.cells.get(column.key), styles[column.key]) for column in columns]
        lines.append([text.rank_text(table, row)] * ranks + [name(row), *cells] + [str(len(row.records))] * ranks)
    return _lines(lines)


def _lines(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _heading(table: Table, column: Column, styles: Mapping[str, text.Style]) -> str:
    title = escape(text.header(column, styles[column.key]))
    return f"{escape(column.group)}: {title}" if column.section == "task metrics" and column.group != "skill" else title


def _marked(cell: Cell | None, style: text.Style) -> str:
    shown = style.cell(cell)
    mark = cell.mark if cell else ""
    return {"best": f"**{shown}**", "tied": f"<u>{shown}</u>"}.get(mark, shown)


def name(row: Row) -> str:
    """A row's name with its changed settings in small print."""
    settings = f" <sub>{escape(row.settings)}</sub>" if row.settings else ""
    return escape(row.name) + settings


def _settings(table: Table) -> str:
    lines = ["| method | seeds | selected | records |", "| :-- | :-- | :-- | :-- |"]
    for row in table.rows:
        records = ", ".join(f"`{escape(record.id)}`" for record in row.records)
        lines.append(f"| {name(row)} | {protocols.text(row.seeds)} | {row.selection} | {records} |")
    return "\n".join(lines)


def _card(table: Table) -> str:
    lines = ["| field | value |", "| :-- | :-- |"]
    lines += [
        f"| {escape(field)} | {escape(protocols.text(value))} |"
        for field, value in sorted(protocols.flatten(table.protocol).items())
    ]
    return "\n".join(lines)


def _differences(board: Board) -> str:
    identities = [table.protocol_id for table in board.tables]
    lines = [
        "These records follow several protocols; rows of different ones are not ranked together. The protocols differ in:",
        "",
        f"| field | {' | '.join(f'`{identity}`' for identity in identities)} |",
        f"| :-- |{' :-- |' * len(identities)}",
    ]
    for field, values in board.differs.items():
        lines.append(
            f"| {escape(field)} | {' | '.join(escape(protocols.text(values[identity])) for identity in identities)} |"
        )
    return "\n".join(lines)


def escape(value: str) -> str:
    """Text that neither HTML nor Markdown takes for markup.

    An underscore between letters or digits is no markup, and stays readable: `hard_sharing`.
    """
    value = " ".join(value.split())
    value = re.sub(r"([\\`*\[\]|~])", r"\\\1", html.escape(value, quote=False))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", value)
