"""Robustness as tables: a grid for each kind of condition, and a data frame of every cell of every seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.conditions import Skill, attack, attacks, conditions
from mtlbench.leaderboard.frames import frame
from mtlbench.leaderboard.table import Cell, Table
from mtlbench.leaderboard.table_builder import mark_column
from mtlbench.records import Evaluation, Record, Scores
from mtlbench.statistics.intervals import t_interval

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "corruption": "Corruptions (skill, mean over severities)",
    "shift": "Shifted test sets (skill)",
}
COLUMNS = ("protocol", "row", "settings", "seed", "condition", "severity", "task", "metric", "value")


@dataclass(frozen=True)
class Grid:
    """Skill under one kind of condition.

    Attributes:
        names: headings of what names a line: the method, and the attacked task where lines are of attacks.
        titles: headings of the numbers.
        lines: row key, the further names, and one cell per title: mean over seeds, half-width of the t interval, and the
            best of the methods and those tied with it marked.
    """

    heading: str
    names: list[str]
    titles: list[str]
    lines: list[tuple[str, list[str], list[Cell]]]


def grids(table: Table) -> list[Grid]:
    """Methods x conditions for corruptions and shifted sets, attacked x affected tasks of every method for each radius."""
    clean, *others = conditions(table)
    made = []
    for kind, heading in HEADINGS.items():
        chosen = [condition for condition in others if condition.kind == kind]
        if chosen:
            columns = [_column(table, condition.skill) for condition in (clean, *chosen)]
            lines = [(row.key, list[str](), [column[row.key] for column in columns]) for row in table.rows]
            made.append(Grid(heading, ["method"], [condition.title for condition in (clean, *chosen)], lines))
    pairs = attacks([record for row in table.rows for record in row.records])
    for radius in dict.fromkeys(radius for radius, _ in pairs):
        attacked = [task for other, task in pairs if other == radius]
        made.append(_attacks(table, clean.skill, radius, attacked))
    return made


def cells_frame(board: Board) -> pd.DataFrame:
    """One line per number: every metric and skill of every cell, shifted test set and attack, of every seed."""
    lines = (
        (table.protocol_id, row.name, row.settings, record.seed, *line)
        for table in board.tables
        for row in table.rows
        for record in row.records
        for line in _lines(record)
    )
    return frame(lines, COLUMNS)


def has_cells(board: Board) -> bool:
    """Whether some record was evaluated under other conditions than clean images."""
    return any(
        record.result.robustness is not None or record.result.shifted
        for table in board.tables
        for row in table.rows
        for record in row.records
    )


def _attacks(table: Table, clean: Skill, radius: str, attacked: Sequence[str]) -> Grid:
    affected: list[str | None] = [*(task.name for task in table.tasks), None]
    skills = {"none": clean, **{task: attack(radius, task) for task in attacked}}
    cells = {name: [_column(table, skill, task) for task in affected] for name, skill in skills.items()}
    lines = [(row.key, [name], [column[row.key] for column in cells[name]]) for row in table.rows for name in skills]
    titles = ["mean" if task is None else task for task in affected]
    return Grid(f"PGD, ε = {radius}/255 (skill)", ["method", "attacked"], titles, lines)


def _column(table: Table, skill: Skill, task: str | None = None) -> dict[str, Cell]:
    cells = {}
    for row in table.rows:
        values = tuple(skill(record, task) for record in row.records)
        interval = t_interval(values)
        cells[row.key] = Cell(interval.mean, interval.half, values, interval.half)
    mark_column(table.rows, cells)
    return cells


Line = tuple[str, str, str, str, float]
"""Condition, severity, task, metric, value."""


def _lines(record: Record) -> Iterator[Line]:
    robustness = record.result.robustness
    if robustness is not None:
        for corruption in robustness.corruptions:
            for severity in map(str, robustness.severities):
                yield from _values(corruption.name, severity, robustness.cells[corruption.name][severity])
    for name, evaluation in sorted(record.result.shifted.items()):
        yield from _values(name, "", evaluation)
    if robustness is not None and robustness.pgd is not None:
        for radius, attacks in sorted(robustness.pgd.attacks.items(), key=lambda item: float(item[0])):
            for task, scores in sorted(attacks.items()):
                yield from _values(f"pgd on {task}", f"{radius}/255", scores)


def _values(condition: str, severity: str, scores: Scores | Evaluation) -> Iterator[Line]:
    yield condition, severity, "", "mean_skill", scores.mean_skill
    for task, metrics in sorted(scores.metrics.items()):
        for name, value in sorted(metrics.items()):
            yield condition, severity, task, name, value
        if task in scores.skill:
            yield condition, severity, task, "skill", scores.skill[task]
