"""What rows were evaluated under beside clean images: corruptions, shifted test sets, attacks; all alike, as skill.

Pure functions of records, from which pictures and tables of robustness are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Evaluation, Record, Robustness
from mtlbench.statistics.intervals import Interval, t_interval
from mtlbench.statistics.robustness_summary import mean_skill, skill_at, skill_of

Skill = Callable[[Record, str | None], float]
"""A record → its skill under a condition: of one task, or (None) the mean over tasks. NaN where it has none."""


@dataclass(frozen=True)
class Condition:
    """One condition that rows were evaluated under.

    Attributes:
        kind: which of the four; tables and pictures are grouped by it.
        title: as people read it.
        skill: from a record.
    """

    kind: Literal["clean", "corruption", "shift", "attack"]
    title: str
    skill: Skill

    def interval(self, row: Row, task: str | None = None) -> Interval:
        """A row's mean over seeds and its t interval."""
        return t_interval([self.skill(record, task) for record in row.records])


def conditions(table: Table) -> list[Condition]:
    """All conditions that all rows of a table were evaluated under: clean, corruptions, shifted sets, attacks.

    A corruption's skill is its mean over severities.
    """
    records = [record for row in table.rows for record in row.records]
    first = records[0].result
    common = [Condition("clean", "clean", lambda record, task: _skill(record.result.test, task))]
    if first.robustness is not None and all(_has_cells_of(record, first.robustness) for record in records):
        for corruption in first.robustness.corruptions:
            common.append(Condition("corruption", corruption.label, _corrupted(corruption.name)))
    for name in first.shifted:
        if all(name in record.result.shifted for record in records):
            common.append(Condition("shift", name, _shifted(name)))
    for radius, task in attacks(records):
        common.append(Condition("attack", f"PGD {radius}/255 on {task}", attack(radius, task)))
    return common


def severities(table: Table) -> list[int]:
    """The severities that all rows were evaluated at; none where some row was not evaluated under corruption."""
    records = [record for row in table.rows for record in row.records]
    evaluated = [record.result.robustness.severities if record.result.robustness else [] for record in records]
    return list(evaluated[0]) if all(own == evaluated[0] for own in evaluated) else []


def skill_at_severity(record: Record, severity: int, task: str | None = None) -> float:
    """Mean skill over all corruptions at one severity; severity 0 is clean."""
    if severity == 0:
        return _skill(record.result.test, task)
    return math.nan if record.result.robustness is None else skill_at(record.result.robustness, severity, task)


def at_severity(row: Row, severity: int, task: str | None = None) -> Interval:
    """`skill_at_severity` with the t interval over seeds."""
    return t_interval([skill_at_severity(record, severity, task) for record in row.records])


def attacks(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(radius as text, attacked task or `all`) of the attacks that all the records have, small radii first."""
    evaluated = [_attacks(record) for record in records]
    common = evaluated[0].intersection(*evaluated[1:])
    order = [task.name for task in records[0].tasks]

    def place(attack: tuple[str, str]) -> tuple[float, int]:
        radius, task = attack
        return float(radius), order.index(task) if task in order else len(order)

    return sorted(common, key=place)


def attack(radius: str, attacked: str) -> Skill:
    """The skill under an attack."""

    def skill(record: Record, task: str | None) -> float:
        robustness = record.result.robustness
        if robustness is None or robustness.pgd is None:
            return math.nan
        return skill_of(robustness.pgd.attacks[radius][attacked], task)

    return skill


def _attacks(record: Record) -> set[tuple[str, str]]:
    robustness = record.result.robustness
    if robustness is None or robustness.pgd is None:
        return set()
    return {(radius, task) for radius, attacks in robustness.pgd.attacks.items() for task in attacks}


def _has_cells_of(record: Record, robustness: Robustness) -> bool:
    own = record.result.robustness
    return own is not None and own.cells.keys() == robustness.cells.keys()


def _corrupted(name: str) -> Skill:
    def skill(record: Record, task: str | None) -> float:
        robustness = record.result.robustness
        return math.nan if robustness is None else mean_skill(robustness, [name], task)

    return skill


def _shifted(name: str) -> Skill:
    return lambda record, task: _skill(record.result.shifted[name], task)


def _skill(evaluation: Evaluation, task: str | None) -> float:
    return evaluation.mean_skill if task is None else evaluation.skill.get(task, math.nan)
