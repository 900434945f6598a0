"""Markdown: a README per dataset, made to be read where the repository is browsed."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from mtlbench.leaderboard import number_format, protocols
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.number_format import SKILL, NumberFormat
from mtlbench.leaderboard.robustness_tables import grids
from mtlbench.leaderboard.table import Cell, Row, Table
from mtlbench.leaderboard.table_notes import band_note

SECTIONS = (
    ("task metrics", "Task metrics"),
    ("val", "On val"),
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
    "perfect one. FLOPs are of the deployed network for one image and all tasks, 2 per multiply-add, convolutions and "
    "matrix products only. "
    "Numbers are those of [leaderboard.csv](leaderboard.csv), divided by the unit in the header and rounded; "
    "[seeds.csv](seeds.csv) has every seed."
)


def readme(board: Board, figures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The README of one dataset.

    Args:
        figures: protocol id → (name of a PNG beside the README without its suffix, caption).
    """
    parts = [f"# {escape(board.dataset)}", HOW_TO_READ]
    if board.trials:
        parts.append("Hyper-parameters were searched: what was tried, and what it gained, stands in [tuning.md](tuning.md).")
    if len(board.tables) > 1:
        parts.append(_differences(board))
    for number, table in enumerate(board.tables, start=1):
        parts += _table(table, number, len(board.tables), figures.get(table.protocol_id, ()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table, number: int, of: int, figures: Sequence[tuple[str, str]]) -> list[str]:
    title = f"Protocol `{table.protocol_id}`"
    overview = _cells_grid(table, number_format.overview(table), ranks=True)
    parts = [f"## {title}" if of == 1 else f"## {number}. {title}", overview]
    parts.append("\n".join(f"- {escape(note)}" for note in [*table.notes, *band_note(table)]))
    parts += [f"![{escape(caption)}]({stem}.png)" for stem, caption in figures]
    for section, heading in SECTIONS:
        columns = number_format.filled(table, [column for column in table.columns if column.section == section])
        if section == "task metrics":
            for group in dict.fromkeys(column.group for column in columns):
                inside = [column for column in columns if column.group == group]
                if group != "skill":
                    parts += [f"### {escape(group)}", _cells_grid(table, inside)]
        elif section == "robustness":
            parts += _robustness(table, heading, columns)
        elif columns and section == "val":
            # Folded: for those who ask, and never what rows are ranked by.
            parts += [f"<details><summary>{heading}</summary>", _cells_grid(table, columns), "</details>"]
        elif columns:
            parts += [f"### {heading}", _cells_grid(table, columns)]
    parts += ["### Seeds and settings", _settings(table), "### Protocol", _card(table)]
    return parts


def _robustness(table: Table, heading: str, columns: Sequence[Column]) -> list[str]:
    """The summary, then a grid per kind of condition.

    Shifted test sets are columns of both; here they stand in their grid.
    """
    columns = [column for column in columns if not column.key.startswith("shifted/")]
    conditions, rows = grids(table), {row.key: row for row in table.rows}
    parts = [f"### {heading}"] if columns or conditions else []
    parts += [_cells_grid(table, columns)] if columns else []
    for condition in conditions:
        lines = [
            [name(rows[key]), *map(escape, names), *(_marked(cell, SKILL) for cell in cells)]
            for key, names, cells in condition.lines
        ]
        head = [*condition.names, *map(escape, condition.titles)]
        parts += [f"#### {escape(condition.heading)}", grid(head, lines, left=len(condition.names))]
    if conditions:
        parts.append("Every cell, task and seed: [robustness.csv](robustness.csv).")
    return parts


def _cells_grid(table: Table, columns: Sequence[Column], ranks: bool = False) -> str:
    """The cells of some columns; with `ranks` also each row's rank and number of seeds."""
    forms = number_format.number_formats(table)
    columns = [column for column in columns if not (ranks and column.key == "rank/task")]
    head = ["rank"] * ranks + ["method"] + [_heading(column, forms[column.key]) for column in columns] + ["seeds"] * ranks
    lines = []
    for row in table.rows:
        cells = [_marked(row.cells.get(column.key), forms[column.key]) for column in columns]
        rank = [number_format.rank_text(table, row)] * ranks
        lines.append([*rank, name(row), *cells, *[str(len(row.records))] * ranks])
    align = ["--:"] * ranks + [":--"] + ["--:"] * (len(columns) + ranks)
    return _aligned(head, align, lines)


def grid(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    """A table of texts that are escaped already: the first columns flush left, the others flush right."""
    return _aligned(head, [":--"] * left + ["--:"] * (len(head) - left), lines)


def _aligned(head: Sequence[str], align: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, align, *lines))


def _heading(column: Column, form: NumberFormat) -> str:
    title = escape(number_format.header(column, form))
    return f"{escape(column.group)}: {title}" if column.section == "task metrics" and column.group != "skill" else title


def _marked(cell: Cell | None, form: NumberFormat) -> str:
    text = form.cell(cell)
    mark = cell.mark if cell else ""
    return {"best": f"**{text}**", "tied": f"<u>{text}</u>"}.get(mark, text)


def name(row: Row) -> str:
    """A row's name with its changed settings in small print."""
    settings = f" <sub>{escape(row.settings)}</sub>" if row.settings else ""
    return escape(row.name) + settings


def _settings(table: Table) -> str:
    lines = []
    for row in table.rows:
        records = ", ".join(f"`{escape(record.id)}`" for record in row.records)
        lines.append([name(row), protocols.as_text(row.seeds), row.selection, records])
    return grid(["method", "seeds", "selected", "records"], lines, left=4)


def _card(table: Table) -> str:
    fields = sorted(protocols.flatten(table.protocol).items())
    lines = [[escape(field), escape(protocols.as_text(value))] for field, value in fields]
    return grid(["field", "value"], lines, left=2)


def _differences(board: Board) -> str:
    identities = [table.protocol_id for table in board.tables]
    lines = [
        [escape(field), *(escape(protocols.as_text(values[identity])) for identity in identities)]
        for field, values in board.differs.items()
    ]
    return (
        "These records follow several protocols; rows of different ones are not ranked together. The protocols differ in:"
        "\n\n" + grid(["field", *(f"`{identity}`" for identity in identities)], lines, left=len(identities) + 1)
    )


def escape(value: str) -> str:
    """Text that neither HTML nor Markdown reads as markup.

    An underscore between letters or digits is no markup, and stays readable: `hard_sharing`.
    """
    value = " ".join(value.split())
    value = re.sub(r"([\\`*\[\]|~])", r"\\\1", html.escape(value, quote=False))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", value)
