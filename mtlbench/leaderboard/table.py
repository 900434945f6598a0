"""From records to tables: pure, so that every output shows the same numbers.

A dataset has one table per protocol id; rows of unequal protocols never stand in one ranking. A row is a method (or its
label) with the hyper-parameters that are not at their defaults; its cells are means over seeds. Rows with one seed are
shown and not ranked: one number says nothing about how far the next seed would be away.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import STRUCTURE, Column, columns_of, values_of
from mtlbench.records import Record, TaskCard, canonical
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.agreement import agreement
from mtlbench.statistics.intervals import t_interval, tied_with_best
from mtlbench.statistics.robustness_delta import corrupted_delta, same_cells


@dataclass
class Cell:
    """One number of a table.

    Attributes:
        mean: over seeds.
        half: half-width of the 95 % interval, NaN below two seeds. That of a Δ includes the reference's noise.
        values: of every seed, in the order of `Row.seeds`.
        own: for a Δ, the half-width without the reference's noise.
        mark: "best" of the column, "tied" when Tukey-Kramer cannot separate it from the best, else "".
    """

    mean: float
    half: float = math.nan
    values: tuple[float, ...] = ()
    own: float = math.nan
    mark: str = ""


@dataclass
class Row:
    """One method of a table, over its seeds."""

    key: str
    name: str
    method: str
    changed: dict[str, Any]
    version: str
    reference: bool
    records: list[Record]
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return [record.seed for record in self.records]

    @property
    def settings(self) -> str:
        """The hyper-parameters that are not at their defaults, and the version of the sources where several compete."""
        parts = [f"{name}={protocols.text(value)}" for name, value in sorted(self.changed.items())]
        return ", ".join([*parts, f"sources {self.version}"] if self.version else parts)

    @property
    def title(self) -> str:
        return f"{self.name} ({self.settings})" if self.settings else self.name

    @property
    def ranked(self) -> bool:
        return "rank/task" in self.cells

    @property
    def selection(self) -> str:
        """How many epochs were selected: one for the network, or one for each of its independent parts."""
        parts = max(len(record.result.selected) for record in self.records)
        return "an epoch per task" if parts > 1 else "one epoch"

    @property
    def tied(self) -> bool:
        """Not separable from the first of the ranking (or the first itself, of several)."""
        return any(self.cells[key].mark == "tied" for key in ("delta/task", "mean_skill") if key in self.cells)


@dataclass
class Table:
    """One ranking: one dataset under one protocol.

    Attributes:
        band: definition of Δ → half-width of the reference's own noise around 0; empty without a reference.
        undefined: metrics left out of Δ because the reference is 0 or not finite there.
        sort: the column that sorts: `delta/task`, or `mean_skill` where there is no reference.
    """

    dataset: str
    protocol_id: str
    protocol: dict[str, Any]
    tasks: list[TaskCard]
    columns: list[Column]
    rows: list[Row]
    sort: str
    band: dict[str, float]
    undefined: list[tuple[str, str]]
    notes: list[str]

    def column(self, key: str) -> Column:
        return next(column for column in self.columns if column.key == key)

    @property
    def reference(self) -> Row | None:
        return next((row for row in self.rows if row.reference), None)


@dataclass
class Board:
    """Everything that is known about one dataset: its tables, and the protocol fields in which they differ."""

    dataset: str
    tables: list[Table]
    differs: dict[str, dict[str, Any]]


def boards(records: Iterable[Record]) -> list[Board]:
    """Records, in any order, to one board a dataset, sorted by name."""
    by_dataset: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted({(one.dataset, one.id): one for one in records}.values(), key=lambda one: one.id):
        by_dataset[record.dataset][record.protocol_id].append(record)
    found = []
    for dataset, by_protocol in sorted(by_dataset.items()):
        tables = [table(group) for group in by_protocol.values()]
        tables.sort(key=lambda table: (-len(table.rows), table.protocol_id))
        differs = protocols.differences({table.protocol_id: table.protocol for table in tables})
        found.append(Board(dataset, tables, differs))
    return found


def table(records: Sequence[Record]) -> Table:
    """One table from the records of one dataset and protocol."""
    tasks = records[0].tasks
    columns = columns_of(records, tasks)
    rows, notes = _rows(records)
    for row in rows:
        row.cells = _cells(row, columns)
        alike = agreement([record.result.plan["table"] for record in row.records if record.result.plan])
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
    notes += _notes(rows, reference, undefined)
    first = records[0]
    return Table(first.dataset, first.protocol_id, first.protocol, tasks, columns, rows, sort, band, undefined, notes)


def _rows(records: Sequence[Record]) -> tuple[list[Row], list[str]]:
    """Group records into rows. An edited plugin is another row; of two records with one seed the newer one counts."""
    groups: dict[tuple[bool, str, str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        sources = hashlib.sha256(canonical(record.provenance.sources).encode()).hexdigest()[:8]
        groups[not record.reference, record.row, record.method, canonical(record.changed)][sources].append(record)
    rows, notes = [], []
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


def _reference(rows: Sequence[Row]) -> Row | None:
    """What Δ is measured against: the reference at its defaults, else the one with the most seeds."""
    found = [row for row in rows if row.reference]
    return min(found, key=lambda row: (len(row.changed), -len(row.records), row.key)) if found else None


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
    corrupted, base = ([record.result.robustness or {} for record in side.records] for side in (row, reference))
    if same_cells([*corrupted, *base]):
        estimates["corrupted"] = corrupted_delta(corrupted, base, against.tasks, deltas.DEFINITIONS[0])
    cells = {}
    for name, estimate in estimates.items():
        # The reference against itself is 0 by definition, and its noise is the band: it is not counted twice.
        itself = row is reference
        mean, half = (0.0, estimate.own.half) if itself else (estimate.own.mean, estimate.half)
        cells[f"delta/{name}"] = Cell(mean, half, estimate.values, estimate.own.half)
    return cells


def _rank(rows: Sequence[Row], sort: str) -> None:
    ranked = {row.key: row for row in rows if len(row.records) > 1 and not row.reference}
    places: dict[str, list[int]] = defaultdict(list)
    keys = [f"delta/{definition}" for definition in deltas.DEFINITIONS] if sort == "delta/task" else [sort]
    for key in keys:
        column = "rank/task" if key == sort else key.replace("delta/", "rank/")
        for name, rank in deltas.ranks({name: row.cells[key].mean for name, row in ranked.items()}).items():
            places[name].append(rank)
            ranked[name].cells[column] = Cell(rank)
    for name, found in places.items():
        if len(found) > 1:
            ranked[name].cells["rank/spread"] = Cell(max(found) - min(found))


def _mark(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """Mark the best of each quality column and those tied with it: ranked rows only, each with its own noise only."""
    for column in columns:
        if column.better == 0 or column.section in ("cost", "other") or column.unit == "rank":
            continue
        mark_column(rows, {row.key: row.cells[column.key] for row in rows if column.key in row.cells}, column.better > 0)


def mark_column(rows: Sequence[Row], cells: Mapping[str, Cell], higher_is_better: bool = True) -> None:
    """Mark the best cell (row key → cell) of those rows that are ranked, and the cells tied with it."""
    compared = [row.key for row in rows if row.key in cells and len(row.records) > 1 and not row.reference]
    best, tied = tied_with_best({key: cells[key].values for key in compared}, higher_is_better)
    for key in compared:
        cells[key].mark = "best" if key == best else "tied" if key in tied else ""


def _notes(rows: Sequence[Row], reference: Row | None, undefined: Sequence[tuple[str, str]]) -> list[str]:
    """What a reader must know about this table, one sentence each."""
    notes = []
    if reference is None:
        notes.append("No single-task reference under this protocol: Δ is not defined, and rows are sorted by mean skill.")
    else:
        notes.append(f"Δ is measured against {reference.title}, mean of {_seeds(len(reference.records))}.")
        if len(reference.records) < 2:
            notes.append("The reference has one seed: its noise is unknown, and Δ has no interval.")
    others = [row.title for row in rows if row.reference and row is not reference]
    if others:
        notes.append(f"Further references, not ranked: {', '.join(others)}.")
    for task, metric in undefined:
        notes.append(f"{metric} of {task} is left out of Δ: the reference is 0 or undefined there.")
    several = [row.title for row in rows if row.selection != "one epoch"]
    if several:
        notes.append(f"Selected an epoch per task, where the others select one for all: {', '.join(several)}.")
    single = [row.title for row in rows if len(row.records) < 2 and not row.reference]
    if single:
        notes.append(f"One seed, shown and not ranked: {', '.join(single)}.")
    return notes + _hardware_notes(rows)


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _hardware_notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    devices: dict[str, None] = {}
    for row in rows:
        for record in row.records:
            for timing in record.measured.latency_ms.values():
                devices[str(timing.get("device", "unknown"))] = None
    if len(devices) > 1:
        notes.append(f"Latencies are from several devices and not comparable: {', '.join(sorted(devices))}.")
    versions: Mapping[str, set[str]] = defaultdict(set)
    for row in rows:
        for record in row.records:
            for name, version in {"mtlbench": record.provenance.mtlbench, **record.provenance.versions}.items():
                versions[name].add(version)
    mixed = [f"{name} {' / '.join(sorted(found))}" for name, found in sorted(versions.items()) if len(found) > 1]
    if mixed:
        notes.append(f"Records from several versions: {'; '.join(mixed)}.")
    return notes


def _descending(number: float) -> float:
    return -number if math.isfinite(number) else math.inf
