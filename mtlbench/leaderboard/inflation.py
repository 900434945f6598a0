"""What selection on test would have claimed, and what selection by skill costs. In files of its own, never ranked.

Drawn from the epochs on test that `mtlbench inflation` measured after everything else (`mtlbench.records.epochs_on_test`):

    inflation  the best epoch on test, minus the epoch that val selected: in skill, and in Δ (task-averaged)
    regret     test Δ of the epoch with the best Δ on val, minus that of the epoch with the best skill on val: what a trial
               would have gained had its selection known the single-task networks (it does not: Δ needs other trials)

Independent parts of a network are chosen one by one, as in selection. A reference takes part with its own inflation: Δ is
claimed against it as it is ranked, and against the reference selected on test, too.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.leaderboard import format as text
from mtlbench.leaderboard.table import Board, Row, Table
from mtlbench.records import Record, TaskCard
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.delta import Metrics
from mtlbench.statistics.intervals import t_interval

SKILL, PERCENT = text.Style(1.0, 3, ""), text.Style(1.0, 2, "%")

COLUMNS: Mapping[str, tuple[str, text.Style]] = {
    "skill": ("skill, as ranked", SKILL),
    "claimed_skill": ("best epoch on test", SKILL),
    "task_skill": ("each task's best epoch", SKILL),
    "skill_inflation": ("inflation", SKILL),
    "delta": ("Δ (%), as ranked", PERCENT),
    "claimed_delta": ("best epoch on test", PERCENT),
    "claimed_delta_both": ("reference's, too", PERCENT),
    "delta_inflation": ("inflation", PERCENT),
    "regret": ("regret", PERCENT),
}
"""Measure → heading and style."""

EXPLAINED = (
    "No number here is ranked. Test was looked at once for the leaderboard, by the epochs that val selected; afterwards "
    "every epoch that could have been selected was evaluated on it. *Inflation* is what reporting the best epoch on test "
    "would have added; *regret* is what selecting by Δ on val instead of by skill on val would have gained on test (in % of "
    "Δ). Each is the mean over the seeds that kept their epochs, ± the half-width of its 95 % t interval."
)


@dataclass(frozen=True)
class Line:
    """One row: measure → its value for every seed that kept its epochs."""

    row: Row
    seeds: tuple[int, ...]
    values: dict[str, tuple[float, ...]]


def lines(table: Table, found: Mapping[str, EpochsOnTest]) -> list[Line]:
    """The rows of a table of which some seed looked back, in the table's order.

    Args:
        found: record id → its epochs on test.
    """
    reference, base, val_base, claimed_base = table.reference, {}, {}, {}
    if reference is not None:
        base = deltas.baseline([one.result.test.metrics for one in reference.records], table.tasks)
        val_base = deltas.baseline([one.result.val.metrics for one in reference.records], table.tasks)
        own = [one for one in reference.records if one.id in found]
        if own:
            claims = [_claimed(one, found[one.id], base, table.tasks) for one in own]
            claimed_base = deltas.baseline(claims, table.tasks)
    made = []
    for row in table.rows:
        seen = [record for record in row.records if record.id in found]
        if not seen:
            continue
        each = [_measures(one, found[one.id], table.tasks, base, val_base, claimed_base) for one in seen]
        values = {name: tuple(one[name] for one in each) for name in COLUMNS if all(name in one for one in each)}
        made.append(Line(row, tuple(record.seed for record in seen), values))
    return made


def _measures(
    record: Record, seen: EpochsOnTest, tasks: Sequence[TaskCard], base: Metrics, val_base: Metrics, claimed_base: Metrics
) -> dict[str, float]:
    """Every measure of one seed; those of Δ only where there is a reference."""
    skills = {epoch: one.skill for epoch, one in seen.test.items()}
    ranked = record.result.test
    best = _choose(record, skills, lambda skill, part: _mean([skill[task] for task in part if task in skill]))
    claimed = _mean([skills[best[task]][task] for task in ranked.skill])
    each = _mean([max(skill[task] for skill in skills.values()) for task in ranked.skill])
    found = {
        "skill": ranked.mean_skill,
        "claimed_skill": claimed,
        "task_skill": each,
        "skill_inflation": claimed - ranked.mean_skill,
    }
    if not base:
        return found
    honest = deltas.delta(ranked.metrics, base, tasks)
    inflated = deltas.delta(_claimed(record, seen, base, tasks), base, tasks)
    found |= {"delta": honest, "claimed_delta": inflated, "delta_inflation": inflated - honest}
    if claimed_base:
        both = _claimed(record, seen, claimed_base, tasks)
        found["claimed_delta_both"] = deltas.delta(both, claimed_base, tasks)
    val = {
        point.epoch: point.val.metrics for point in record.result.curve if point.val is not None and point.epoch in seen.test
    }
    by_delta = _choose(record, val, lambda metrics, part: _share(metrics, val_base, tasks, part))
    found["regret"] = deltas.delta(_compose(seen, by_delta), base, tasks) - honest
    return found


def _claimed(record: Record, seen: EpochsOnTest, base: Metrics, tasks: Sequence[TaskCard]) -> Metrics:
    """The test metrics of the epoch with the highest Δ on test."""
    metrics = {epoch: one.metrics for epoch, one in seen.test.items()}
    return _compose(seen, _choose(record, metrics, lambda one, part: _share(one, base, tasks, part)))


def _choose(record: Record, epochs: Mapping[int, Any], value: Callable[[Any, tuple[str, ...]], float]) -> dict[str, int]:
    """Task → the epoch at which its part of the network has the highest value; the first of equals, NaN never."""
    chosen: dict[str, int] = {}
    for name in record.result.selected:
        part = tuple(name.split("+"))
        values = {epoch: value(one, part) for epoch, one in sorted(epochs.items())}
        best = max(values, key=lambda epoch: values[epoch] if math.isfinite(values[epoch]) else -math.inf)
        chosen |= dict.fromkeys(part, best)
    return chosen


def _share(metrics: Metrics, base: Metrics, tasks: Sequence[TaskCard], part: Sequence[str]) -> float:
    """What some of the tasks add to Δ."""
    gains = deltas.gain(metrics, base, tasks)
    return math.fsum(share * gains[pair] for pair, share in deltas.weights("task", base, tasks).items() if pair[0] in part)


def _compose(seen: EpochsOnTest, chosen: Mapping[str, int]) -> Metrics:
    return {task: seen.test[epoch].metrics[task] for task, epoch in chosen.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def views(board: Board, found: Mapping[str, EpochsOnTest]) -> list[dict[str, Any]]:
    """For every table that has something to show: its protocol, headings, and lines of texts."""
    made = []
    for table in board.tables:
        rows = [
            {"name": line.row.title, "seeds": len(line.seeds), "cells": [_cell(line, name) for name in COLUMNS]}
            for line in lines(table, found)
        ]
        if rows:
            made.append({"id": table.protocol_id, "headings": [title for title, _ in COLUMNS.values()], "rows": rows})
    return made


def _cell(line: Line, name: str) -> str:
    if name not in line.values:
        return text.MISSING
    interval, style = t_interval(line.values[name]), COLUMNS[name][1]
    half = f" ± {style.number(interval.half)}" if math.isfinite(interval.half) else ""
    return style.number(interval.mean) + half


def markdown(board: Board, found: Mapping[str, EpochsOnTest]) -> str:
    """The file of one dataset; empty when no trial looked back."""
    from mtlbench.leaderboard.markdown import escape

    parts = []
    for view in views(board, found):
        head = ["method", *view["headings"], "seeds"]
        rows = [[escape(row["name"]), *row["cells"], str(row["seeds"])] for row in view["rows"]]
        grid = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
        parts += [f"## Protocol `{view['id']}`", "\n".join(f"| {' | '.join(line)} |" for line in grid)]
    if not parts:
        return ""
    return "\n\n".join([f"# {escape(board.dataset)}: what selection on test would have claimed", EXPLAINED, *parts]) + "\n"


def csv_text(board: Board, found: Mapping[str, EpochsOnTest]) -> str:
    """One line a record that looked back, every measure in full; empty without one."""
    rows = [
        [
            table.protocol_id,
            line.row.title,
            str(seed),
            *(repr(line.values[n][at]) if n in line.values else "" for n in COLUMNS),
        ]
        for table in board.tables
        for line in lines(table, found)
        for at, seed in enumerate(line.seeds)
    ]
    if not rows:
        return ""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["protocol_id", "row", "seed", *COLUMNS], *rows])
    return buffer.getvalue()
