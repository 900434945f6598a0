"""What rows were tested under beside clean images: corruptions, shifted test sets, attacks; all alike, as skill.

Pure functions of records, from which pictures and tables of robustness are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Evaluation, Record
from mtlbench.statistics.intervals import Interval, t_interval
from mtlbench.statistics.robustness_summary import mean_skill, skill_at

Skill = Callable[[Record, str | None], float]
"""A record → its skill under a condition: of one task, or (None) the mean over tasks. NaN where it has none."""


@dataclass(frozen=True)
class Condition:
    """One thing that rows were tested under.

    Attributes:
        kind: which of the four; tables and pictures are grouped by it.
        title: what a person reads.
        skill: what a record says of it.
    """

    kind: Literal["clean", "corruption", "shift", "attack"]
    title: str
    skill: Skill

    def interval(self, row: Row, task: str | None = None) -> Interval:
        """A row's mean over seeds and its t interval."""
        return t_interval([self.skill(record, task) for record in row.records])


def conditions(table: Table) -> list[Condition]:
    """Everything that all rows of a table were tested under: clean, corruptions, shifted sets, attacks.

    A corruption's skill is its mean over severities.
    """
    records = [record for row in table.rows for record in row.records]
    first = records[0].result
    found = [Condition("clean", "clean", lambda record, task: _skill(record.result.test, task))]
    if all(_robustness(record)["cells"].keys() == _robustness(records[0])["cells"].keys() for record in records):
        for corruption in _robustness(records[0]).get("corruptions", ()):
            found.append(Condition("corruption", corruption["label"], _corrupted(corruption["name"])))
    for name in first.shifted:
        if all(name in record.result.shifted for record in records):
            found.append(Condition("shift", name, _shifted(name)))
    for radius, on in attacks(records):
        found.append(Condition("attack", f"PGD {radius}/255 on {on}", attack(radius, on)))
    return found


def severities(table: Table) -> list[int]:
    """The severities that all rows were tested at; none where some row was not tested under corruption."""
    found = [_robustness(record).get("severities", []) for row in table.rows for record in row.records]
    return list(found[0]) if all(one == found[0] for one in found) else []


def at_severity(row: Row, severity: int, task: str | None = None) -> Interval:
    """Mean skill over all corruptions at one severity, with the t interval over seeds; severity 0 is clean."""
    if severity == 0:
        return t_interval([_skill(record.result.test, task) for record in row.records])
    return t_interval([skill_at(_robustness(record), severity, task) for record in row.records])


def attacks(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(radius as text, attacked task or `all`) of the attacks that all the records have, small radii first."""
    found = [
        [(radius, on) for radius, named in _robustness(record).get("pgd", {}).get("attacks", {}).items() for on in named]
        for record in records
    ]
    common = set(found[0]).intersection(*found[1:])
    order = [task.name for task in records[0].tasks]
    return sorted(common, key=lambda one: (float(one[0]), order.index(one[1]) if one[1] in order else len(order)))


def attack(radius: str, on: str) -> Skill:
    """The skill under an attack."""

    def skill(record: Record, task: str | None) -> float:
        cell = _robustness(record)["pgd"]["attacks"][radius][on]
        return float(cell["mean_skill"] if task is None else cell["skill"].get(task, math.nan))

    return skill


def _corrupted(name: str) -> Skill:
    return lambda record, task: mean_skill(_robustness(record), [name], task)


def _shifted(name: str) -> Skill:
    return lambda record, task: _skill(record.result.shifted[name], task)


def _skill(evaluation: Evaluation, task: str | None) -> float:
    return evaluation.mean_skill if task is None else evaluation.skill.get(task, math.nan)


def _robustness(record: Record) -> Mapping[str, Any]:
    return record.result.robustness or {"cells": {}}
