"""Robustness as tables: a grid for each kind of condition, and every cell of every seed in a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.leaderboard.conditions import Skill, attack, attacks, conditions
from mtlbench.leaderboard.table import Board, Cell, Table, mark_column
from mtlbench.records import Evaluation, Record
from mtlbench.statistics.intervals import t_interval

HEADINGS = {
    "corruption": "Corruptions (skill, mean over severities)",
    "shift": "Shifted test sets (skill)",
}
CSV_HEADER = ("protocol", "row", "settings", "seed", "condition", "severity", "task", "metric", "value")


@dataclass(frozen=True)
class Grid:
    """Skill under one kind of condition.

    Attributes:
        names: headings of what names a line: the method, and the attacked task where lines are of attacks.
        titles: headings of the numbers.
        lines: row key, the further names, and one cell a title: mean over seeds, half-width of the t interval, and the
            best of the methods and those tied with it marked.
    """

    heading: str
    names: list[str]
    titles: list[str]
    lines: list[tuple[str, list[str], list[Cell]]]


def grids(table: Table) -> list[Grid]:
    """Methods x conditions for corruptions and shifted sets, attacked x affected tasks of every method for each radius."""
    found = conditions(table)
    shown = []
    for kind, heading in HEADINGS.items():
        chosen = [one for one in found if one.kind == kind]
        if chosen:
            columns = [_column(table, one.skill) for one in (found[0], *chosen)]
            lines = [(row.key, list[str](), [column[row.key] for column in columns]) for row in table.rows]
            shown.append(Grid(heading, ["method"], [one.title for one in (found[0], *chosen)], lines))
    pairs = attacks([record for row in table.rows for record in row.records])
    for radius in dict.fromkeys(radius for radius, _ in pairs):
        shown.append(_attacks(table, found[0].skill, radius, [on for one, on in pairs if one == radius]))
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


def _attacks(table: Table, clean: Skill, radius: str, attacked: Sequence[str]) -> Grid:
    affected: list[str | None] = [*(task.name for task in table.tasks), None]
    skills = {"none": clean, **{on: attack(radius, on) for on in attacked}}
    cells = {on: [_column(table, skill, task) for task in affected] for on, skill in skills.items()}
    lines = [(row.key, [on], [column[row.key] for column in cells[on]]) for row in table.rows for on in skills]
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


def _lines(record: Record) -> Iterator[tuple[str, str, str, str, float]]:
    """(condition, severity, task, metric, value)."""
    robustness = record.result.robustness or {}
    for one in robustness.get("corruptions", ()):
        for severity in map(str, robustness["severities"]):
            yield from _values(one["name"], severity, robustness["cells"][one["name"]][severity])
    for name, evaluation in sorted(record.result.shifted.items()):
        yield from _values(name, "", _plain(evaluation))
    for radius, named in sorted(robustness.get("pgd", {}).get("attacks", {}).items(), key=lambda one: float(one[0])):
        for on, cell in sorted(named.items()):
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
