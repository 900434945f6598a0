"""From records to a table: grouped into rows, averaged, ranked and marked.

A row is a method (or its label) with the hyper-parameters that are not at their defaults; its cells are means over seeds.
Rows with one seed are shown and not ranked: one number says nothing about how far the next seed would be away.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mtlbench.leaderboard.columns import STRUCTURE, Column, columns_of, values_of
from mtlbench.leaderboard.table import Cell, Row, Table
from mtlbench.leaderboard.table_notes import table_notes
from mtlbench.leaderboard.tuning_card import without_superseded
from mtlbench.records import Record, canonical
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.agreement import agreement
from mtlbench.statistics.comparisons import tied_with_best
from mtlbench.statistics.intervals import t_interval
from mtlbench.statistics.robustness_delta import corrupted_delta, same_cells


def build_table(records: Sequence[Record]) -> Table:
    """One table from the records of one dataset and protocol."""
    tasks = records[0].tasks
    columns = columns_of(records, tasks)
    rows, notes = _rows(records)
    for row in rows:
        row.cells = _cells(row, columns)
        alike = agreement([record.result.plan.table for record in row.records if record.result.plan is not None])
        if alike is not None:
            row.cells[STRUCTURE.key] = Cell(alike)
    reference = _reference(rows)
    band: dict[str, float] = {}
    undefined: list[tuple[str, str]] = []
    if reference is not None:
        against = deltas.Reference([record.result.test.metrics for record in reference.records], tasks)
        undefined = deltas.undefined(against.base, tasks)
        band = {definition: against.band(definition) for definition in deltas.DEFINITIONS}
        for row in rows:
            row.cells |= _delta_cells(row, reference, against)
    sort = "delta/task" if reference is not None else "mean_skill"
    rows.sort(key=lambda row: (_descending(row.cells[sort].mean), _descending(row.cells["mean_skill"].mean), row.key))
    _rank(rows, sort)
    _mark(rows, columns)
    notes += table_notes(rows, reference, undefined)
    first = records[0]
    return Table(first.dataset, first.protocol_id, first.protocol, tasks, columns, rows, sort, band, undefined, notes)


def _rows(records: Sequence[Record]) -> tuple[list[Row], list[str]]:
    """Group records into rows. An edited plugin is another row; of two records with one seed the newer one counts."""
    records, notes = without_superseded(records)
    groups: dict[tuple[bool, str, str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        sources = hashlib.sha256(canonical(record.provenance.sources).encode()).hexdigest()[:8]
        groups[not record.reference, record.row, record.method, _configuration(record)][sources].append(record)
    rows = []
    for (_, name, method, changed), versions in sorted(groups.items()):
        for sources, group in sorted(versions.items()):
            newest: dict[int, Record] = {}
            for record in sorted(group, key=lambda record: (record.provenance.created, record.id)):
                newest[record.seed] = record
            kept = [newest[seed] for seed in sorted(newest)]
            version = sources if len(versions) > 1 else ""
            if len(kept) < len(group):
                notes.append(f"{name}: {len(group) - len(kept)} older records of the same seeds are left out.")
            key = hashlib.sha256(f"{name}\n{method}\n{changed}\n{sources}".encode()).hexdigest()[:12]
            rows.append(Row(key, name, method, kept[0].changed, version, kept[0].reference, kept))
    return rows, notes


def _configuration(record: Record) -> str:
    """What tells rows of one method apart: its changed hyper-parameters and, of winners, all that was searched."""
    if record.tuning is None:
        return canonical(record.changed)
    return canonical([record.changed, record.tuning.study, record.tuning.values])


def _reference(rows: Sequence[Row]) -> Row | None:
    """The row that Δ is measured against: the reference at its defaults, else the one with the most seeds."""
    references = [row for row in rows if row.reference]
    return min(references, key=lambda row: (len(row.changed), -len(row.records), row.key)) if references else None


def _cells(row: Row, columns: Sequence[Column]) -> dict[str, Cell]:
    values = [values_of(record) for record in row.records]
    cells = {}
    for column in columns:
        if all(column.key in named for named in values):
            numbers = tuple(named[column.key] for named in values)
            interval = t_interval(numbers)
            cells[column.key] = Cell(interval.mean, interval.half, numbers, interval.half)
    return cells


def _delta_cells(row: Row, reference: Row, against: deltas.Reference) -> dict[str, Cell]:
    tests = [record.result.test.metrics for record in row.records]
    estimates = {name: deltas.estimate(tests, against, name) for name in deltas.DEFINITIONS}
    corrupted, base = ([record.result.robustness for record in side.records] for side in (row, reference))
    if same_cells([*corrupted, *base]):
        rows, references = ([robustness for robustness in side if robustness is not None] for side in (corrupted, base))
        estimates["corrupted"] = corrupted_delta(rows, references, against.tasks, deltas.DEFINITIONS[0])
    cells = {}
    for name, estimate in estimates.items():
        # The reference against itself is 0 by definition, and its noise is the band: it is not counted twice.
        itself = row is reference
        mean, half = (0.0, estimate.own.half) if itself else (estimate.own.mean, estimate.half)
        cells[f"delta/{name}"] = Cell(mean, half, estimate.values, estimate.own.half)
    return cells


def _rank(rows: Sequence[Row], sort: str) -> None:
    ranked = {row.key: row for row in rows if len(row.records) > 1 and not row.reference}
    ranks_of: dict[str, list[int]] = defaultdict(list)
    keys = [f"delta/{definition}" for definition in deltas.DEFINITIONS] if sort == "delta/task" else [sort]
    for key in keys:
        column = "rank/task" if key == sort else key.replace("delta/", "rank/")
        for name, rank in deltas.ranks({name: row.cells[key].mean for name, row in ranked.items()}).items():
            ranks_of[name].append(rank)
            ranked[name].cells[column] = Cell(rank)
    for name, ranks in ranks_of.items():
        if len(ranks) > 1:
            ranked[name].cells["rank/spread"] = Cell(max(ranks) - min(ranks))


def _mark(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """Mark the best of each quality column and those tied with it: ranked rows only, each with its own noise only."""
    for column in columns:
        if column.better == 0 or column.section in ("cost", "other", "val") or column.unit == "rank":
            continue
        mark_column(rows, {row.key: row.cells[column.key] for row in rows if column.key in row.cells}, column.better > 0)


def mark_column(rows: Sequence[Row], cells: Mapping[str, Cell], higher_is_better: bool = True) -> None:
    """Mark the best cell (row key → cell) of those rows that are ranked, and the cells tied with it."""
    compared = [row.key for row in rows if row.key in cells and len(row.records) > 1 and not row.reference]
    best, tied = tied_with_best({key: cells[key].values for key in compared}, higher_is_better)
    for key in compared:
        cells[key].mark = "best" if key == best else "tied" if key in tied else ""


def _descending(number: float) -> float:
    return -number if math.isfinite(number) else math.inf
