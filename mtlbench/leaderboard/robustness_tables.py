"""Robustness as text: every condition in a Markdown grid, and every cell of every seed in a CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtlbench.leaderboard.conditions import Condition, conditions
from mtlbench.leaderboard.table import Board, Row, Table
from mtlbench.record import Evaluation, Record

HEADINGS = {
    "corruption": "Corruptions (skill, mean over severities)",
    "shift": "Shifted test sets (skill)",
    "attack": "Attacks (skill of all tasks, attacked or not)",
}
CSV_HEADER = ("protocol", "row", "settings", "seed", "condition", "severity", "task", "metric", "value")


def grids(table: Table) -> list[tuple[str, list[list[str]]]]:
    """Heading and cells (the first line is the head) for each kind of condition that all rows were tested under.

    Methods are lines, conditions columns, as everywhere; numbers are means over seeds ± the half-width of the t interval.
    """
    found = conditions(table)
    clean = [one for one in found if one.kind == "clean"]
    shown = []
    for kind, heading in HEADINGS.items():
        chosen = [one for one in found if one.kind == kind]
        if chosen:
            shown.append((heading, _grid(table, [*clean, *chosen])))
    return shown


def cells_csv(board: Board) -> str:
    """One line a number: every metric and skill of every cell, shifted test set and attack, of every seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for table in board.tables:
        for row in table.rows:
            for record in row.records:
                for line in _lines(record):
                    writer.writerow((table.protocol_id, row.name, row.settings, record.seed, *line))
    return text.getvalue()


def _grid(table: Table, shown: Sequence[Condition]) -> list[list[str]]:
    return [
        ["method", *(one.title for one in shown)],
        *([row.title, *(_number(one, row) for one in shown)] for row in table.rows),
    ]


def _number(condition: Condition, row: Row) -> str:
    interval = condition.interval(row)
    if not math.isfinite(interval.mean):
        return "undefined"
    return f"{interval.mean:.3f}" + (f" ± {interval.half:.3f}" if math.isfinite(interval.half) and interval.half else "")


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
