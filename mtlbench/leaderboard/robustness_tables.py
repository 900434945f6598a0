"""Robustness as tables: a grid for each kind of condition, and every cell of every seed in a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mtlbench.leaderboard.conditions import Condition, conditions
from mtlbench.leaderboard.table import Board, Cell, Table, mark_column
from mtlbench.measure.statistics import t_interval
from mtlbench.record import Evaluation, Record

HEADINGS = {
    "corruption": "Corruptions (skill, mean over severities)",
    "shift": "Shifted test sets (skill)",
    "attack": "Attacks (skill of all tasks, attacked or not)",
}
CSV_HEADER = ("protocol", "row", "settings", "seed", "condition", "severity", "task", "metric", "value")


@dataclass(frozen=True)
class Grid:
    """Skill under one kind of condition: methods are lines, conditions columns, clean images first.

    Attributes:
        cells: row key → one cell a title: mean over seeds, half-width of the t interval, best and tied marked.
    """

    heading: str
    titles: list[str]
    cells: dict[str, list[Cell]]


def grids(table: Table) -> list[Grid]:
    """A grid for each kind of condition that all rows were tested under."""
    found = conditions(table)
    clean = [one for one in found if one.kind == "clean"]
    shown = []
    for kind, heading in HEADINGS.items():
        chosen = [one for one in found if one.kind == kind]
        if chosen:
            columns = [_column(table, one) for one in (*clean, *chosen)]
            cells = {row.key: [column[row.key] for column in columns] for row in table.rows}
            shown.append(Grid(heading, [one.title for one in (*clean, *chosen)], cells))
    return shown


def cells_csv(board: Board) -> str:
    """One line a number: every metric and skill of every cell, shifted test set and attack, of every seed; "" if none."""
    lines = [
        (table.protocol_id, row.name, row.settings, record.seed, *line)
        for table in board.tables
        for row in table.rows
        for record in row.records
        for line in _lines(record)
    ]
    text = io.StringIO()
    if lines:
        csv.writer(text, lineterminator="\n").writerows([CSV_HEADER, *lines])
    return text.getvalue()


def _column(table: Table, condition: Condition) -> dict[str, Cell]:
    cells = {}
    for row in table.rows:
        values = tuple(condition.skill(record, None) for record in row.records)
        interval = t_interval(values)
        cells[row.key] = Cell(interval.mean, interval.half, values, interval.half)
    mark_column(table.rows, cells)
    return cells


def _lines(record: Record) -> Iterator[tuple[str, str, str, str, float]]:
    """(condition, severity, task, metric, value)."""
    robustness = record.result.robustness or {}
    for one in robustness.get("corruptions", ()):
        for severity in map(str, robustness["severities"]):
            yield from _values(one["name"], severity, robustness["cells"][one["name"]][severity])
    for name, evaluation in sorted(record.result.shifted.items()):
        yield from _values(name, "", _plain(evaluation))
    for radius, attacks in sorted(robustness.get("pgd", {}).get("attacks", {}).items(), key=lambda one: float(one[0])):
        for on, cell in sorted(attacks.items()):
            yield from _values(f"pgd on {on}", f"{radius}/255", cell)


def _plain(evaluation: Evaluation) -> Mapping[str, Any]:
    return evaluation.model_dump(include={"metrics", "skill", "mean_skill"})


def _values(condition: str, severity: str, cell: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, float]]:
    yield condition, severity, "", "mean_skill", cell["mean_skill"]
    for task, metrics in sorted(cell["metrics"].items()):
        for name, value in sorted(metrics.items()):
            yield condition, severity, task, name, value
        if task in cell["skill"]:
            yield condition, severity, task, "skill", cell["skill"][task]
