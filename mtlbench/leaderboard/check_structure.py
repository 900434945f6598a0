"""Whether the free-form parts of a record (robustness, sharing plan, artefacts) can be drawn: one line a problem."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mtlbench.leaderboard import artefacts
from mtlbench.leaderboard.shapes import are_names, are_numbers, is_count, is_number
from mtlbench.records import Record, TaskCard

HIGHEST = 1 + 1e-6
"""A skill's highest value, and what rounding may add to it."""


def structure(record: Record) -> Iterator[str]:
    """What is wrong with the parts of a record that its schema leaves open."""
    yield from _text(record)
    if record.result.robustness is not None:
        yield from robustness(record.result.robustness, record.tasks)
    if record.result.plan:
        yield from plan(record.result.plan, [task.name for task in record.tasks])
    for kind, artefact in record.result.artefacts.items():
        if kind in artefacts.KINDS and artefact:
            wrong = artefacts.KINDS[kind].wrong(artefact)
            if wrong:
                yield f"artefacts.{kind}: {wrong}"


def _text(record: Record) -> Iterator[str]:
    """JSON can spell half of a surrogate pair, which no file can be written with."""
    result = record.result
    free = [record.hypers, record.changed, record.protocol, record.provenance.machine, record.measured.latency_ms]
    try:
        json.dumps([free, result.plan, result.robustness, result.artefacts], ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        yield "a text in it is not Unicode (half of a surrogate pair)"


def plan(found: Mapping[str, Any], tasks: list[str]) -> Iterator[str]:
    """Depths and tasks are names, the tasks are the record's, and the table has a row a depth with an entry a task."""
    depths: Any = found.get("depths")
    named: Any = found.get("tasks")
    table: Any = found.get("table")
    if not are_names(depths) or not are_names(named):
        yield "plan: `depths` and `tasks` are expected to be lists of names"
    elif sorted(named) != sorted(tasks):
        yield f"plan: its tasks are {', '.join(named)}, those of the record {', '.join(tasks)}"
    elif (
        not isinstance(table, list)
        or len(table) != len(depths)
        or not all(isinstance(row, list) and len(row) == len(tasks) for row in table)
        or not all(entry is None or is_count(entry) for row in table for entry in row)
    ):
        yield f"plan: `table` is expected to be {len(depths)} × {len(tasks)}, variant numbers or null"


def robustness(found: Mapping[str, Any], tasks: list[TaskCard]) -> Iterator[str]:
    """Every corruption has a cell at every severity, every attack one, and the summary is numbers."""
    cells = found.get("cells")
    if not isinstance(cells, Mapping) or not all(isinstance(one, Mapping) for one in cells.values()):
        yield "robustness: `cells` is expected: corruption → severity → metrics, skill, mean_skill"
        return
    listed, severities = found.get("corruptions", []), found.get("severities", [])
    if not isinstance(listed, list) or not all(_described(one) for one in listed):
        yield "robustness: `corruptions` is expected to be a list of descriptions with name and label"
        return
    if sorted(one["name"] for one in listed) != sorted(cells):
        yield "robustness: the described corruptions are not those of its cells"
    if not isinstance(severities, list) or not all(is_count(one) for one in severities):
        yield "robustness: `severities` is expected to be a list of numbers"
        return
    for name, one in cells.items():
        if set(one) != {str(severity) for severity in severities}:
            yield f"robustness: {name} has cells at severities {', '.join(map(str, one)) or 'none'}, expected {severities}"
        for severity, cell in one.items():
            yield from _cell(cell, f"robustness: {name} at severity {severity}", tasks)
    if not are_numbers(found.get("summary", {})):
        yield "robustness: `summary` is expected to be names with numbers"
    if not isinstance(found.get("worst", ""), str):
        yield "robustness: `worst` is expected to be a corruption's name"
    yield from _attacks(found.get("pgd", {}), tasks)


def _described(corruption: Any) -> bool:
    return isinstance(corruption, Mapping) and all(isinstance(corruption.get(key), str) for key in ("name", "label"))


def _attacks(pgd: Any, tasks: list[TaskCard]) -> Iterator[str]:
    attacks = pgd.get("attacks", {}) if isinstance(pgd, Mapping) else None
    if not isinstance(attacks, Mapping) or not all(isinstance(one, Mapping) for one in attacks.values()):
        yield "robustness: `pgd.attacks` is expected: radius → attacked task → metrics, skill, mean_skill"
        return
    for radius, named in attacks.items():
        if not _radius(radius):
            yield f"robustness: PGD radius {radius!r} is not a number"
        for on, cell in named.items():
            yield from _cell(cell, f"robustness: PGD {radius} on {on}", tasks)


def _radius(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _cell(cell: Any, where: str, tasks: list[TaskCard]) -> Iterator[str]:
    """All metrics of all tasks, skills, and a mean skill of at most 1 (NaN where no task has a skill)."""
    cell = cell if isinstance(cell, Mapping) else {}
    metrics: Any = cell.get("metrics")
    skill: Any = cell.get("skill")
    if not isinstance(metrics, Mapping) or not all(are_numbers(one) for one in metrics.values()) or not are_numbers(skill):
        yield f"{where}: metrics and skill are expected to be names with numbers"
        return
    names = {task.name: {metric.name for metric in task.metrics} for task in tasks}
    if {task: set(named) for task, named in metrics.items()} != names or not set(skill) <= set(names):
        yield f"{where}: its tasks and metrics are not those of the record"
    mean = cell.get("mean_skill")
    if not is_number(mean) or mean > HIGHEST or math.isinf(mean):
        yield f"{where}: mean_skill is {mean!r}, expected a number of at most 1"
    for task, value in skill.items():
        if value > HIGHEST or math.isinf(value):
            yield f"{where}: skill of {task} is {value}, expected at most 1"
