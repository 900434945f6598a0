"""Published numbers as data: read, recomputed and checked against themselves. Shown beside measured rows, never ranked.

A file has one line per published row. Its columns: `table`, `dataset`, `method`, `role` (method, reference: what Δ is
measured against, stderr), `protocol`, `seeds`; one `task/metric/up` or `task/metric/down` per metric, a task's first metric
being its primary one; `mean_rank` and `delta` as printed, `delta_definition` (task, metric, primary; `-metric` where lower
is better), `defects` that are known, `source`, and `status`: what the number was checked against.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.errors import UserError
from mtlbench.records import MetricInfo, TaskInfo
from mtlbench.statistics import delta as deltas

REQUIRED = (
    "table",
    "dataset",
    "method",
    "role",
    "protocol",
    "mean_rank",
    "delta",
    "delta_definition",
    "defects",
    "source",
    "status",
)

OTHER_DATA = ("nyudv2", "cityscapes-3d", "taskonomy-tiny")
"""Published datasets that no plugin prepares: other classes, tasks or selections of the same images (NYUD-v2 with 40
classes, Cityscapes with boxes in 3D, Tiny-Taskonomy). They are shown on the first page instead of a dataset's."""


@dataclass
class Reported:
    """One published row. `cells` are the metrics as printed, `(task, metric)` → text; empty ones are absent."""

    file: str
    line: int
    fields: dict[str, str]
    cells: dict[tuple[str, str], str]
    tasks: list[TaskInfo] = field(default_factory=list)
    deltas: dict[str, float] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.fields["method"]

    @property
    def group(self) -> tuple[str, str, str]:
        """The table it was printed in."""
        return self.file, self.fields["table"], self.fields["dataset"]

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}: {self.fields['dataset']}, {self.fields['table']}, {self.method}"

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        named: dict[str, dict[str, float]] = defaultdict(dict)
        for (task, metric), text in self.cells.items():
            named[task][metric] = float(text)
        return dict(named)


def read(folder: Path) -> list[Reported]:
    """All rows of a folder's CSV files, with Δ recomputed where a reference is known.

    The reference of a row is that of its own table, else that of its dataset and protocol in another file.

    Raises:
        UserError: a file lacks a column, or holds something that is not a number where one belongs.
    """
    rows = [row for path in sorted(folder.glob("*.csv")) for row in _read_file(path)]
    references: dict[tuple[str, ...], Reported] = {}
    for row in rows:
        if row.fields["role"] == "reference":
            references.setdefault(row.group, row)
            references.setdefault((row.fields["dataset"], row.fields["protocol"]), row)
    for row in rows:
        reference = references.get(row.group) or references.get((row.fields["dataset"], row.fields["protocol"]))
        if reference is not None and row.fields["role"] == "method" and row.cells and set(row.cells) <= set(reference.cells):
            row.deltas = {name: deltas.delta(row.metrics, reference.metrics, row.tasks, name) for name in deltas.DEFINITIONS}
    return rows


def _read_file(path: Path) -> list[Reported]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise UserError(
                f"{path}: column {missing[0]!r} is missing; expected {', '.join(REQUIRED)} and task/metric/up|down."
            )
        headers = {name: tuple(name.rsplit("/", 2)) for name in names if name.endswith(("/up", "/down"))}
        rows = []
        for line, fields in enumerate(reader, start=2):
            cells = {}
            for name, (task, metric, _) in headers.items():
                if fields[name]:
                    _number(fields[name], f"{path}:{line}: {name}")
                    cells[task, metric] = fields[name]
            for name in ("mean_rank", "delta"):
                _number(fields[name] or "0", f"{path}:{line}: {name}")
            rows.append(Reported(path.name, line, fields, cells, _tasks(list(headers.values()), cells)))
        return rows


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where} is {text!r}, expected a number or nothing.") from None


def _tasks(headers: Sequence[tuple[str, ...]], cells: dict[tuple[str, str], str]) -> list[TaskInfo]:
    """The tasks of which a row has numbers."""
    metrics_of: dict[str, list[MetricInfo]] = defaultdict(list)
    for task, metric, way in headers:
        if (task, metric) in cells:
            metrics_of[task].append(MetricInfo(name=metric, higher_is_better=way == "up", perfect=math.nan))
    return [TaskInfo(name=task, kind=task, metrics=metrics, primary=metrics[0].name) for task, metrics in metrics_of.items()]


def lint(folder: Path) -> list[str]:
    """What does not add up in a folder of reported numbers, one line per finding: file, row, what, by how much."""
    rows = read(folder)
    tables: dict[tuple[str, str, str], list[Reported]] = defaultdict(list)
    for row in rows:
        if row.fields["role"] != "stderr":
            tables[row.group].append(row)
    findings = [
        finding for group in tables.values() for check in (_delta, _repeated, _mean_ranks) for finding in check(group)
    ]
    return findings + list(_contradictions(rows))


def _delta(group: list[Reported]) -> Iterator[str]:
    """Printed Δ against the row's own numbers, where rounding cannot explain the difference."""
    for row in group:
        definition = row.fields["delta_definition"]
        if not row.deltas or not row.fields["delta"] or not definition:
            continue
        sign = -1 if definition.startswith("-") else 1
        recomputed = sign * row.deltas[definition.lstrip("-")]
        slack = _slack(row, definition.lstrip("-")) + _ulp(row.fields["delta"])
        if abs(recomputed - float(row.fields["delta"])) > slack:
            yield (
                f"{row.where}: printed Δ {row.fields['delta']}, its own row gives {recomputed:.2f} "
                f"({definition.lstrip('-')}{', lower is better' if sign < 0 else ''}; rounding explains {slack:.2f})"
            )


def _slack(row: Reported, definition: str) -> float:
    """How far rounding of the printed numbers can move Δ, in percent, the reference's rounding included."""
    values = row.metrics
    share = deltas.weights(definition, values, row.tasks)
    return sum(weight * 200 * _ulp(row.cells[pair]) / abs(values[pair[0]][pair[1]]) for pair, weight in share.items())


def _repeated(group: list[Reported]) -> Iterator[str]:
    """Two methods with the same numbers throughout."""
    first: dict[tuple[tuple[tuple[str, str], str], ...], Reported] = {}
    for row in group:
        key = tuple(row.cells.items())
        if len(key) > 1 and key in first:
            yield f"{row.where}: equal to the row of {first[key].method} in every number"
        first.setdefault(key, row)


def _mean_ranks(group: list[Reported]) -> Iterator[str]:
    """Printed mean ranks: possible at all, and those of the table's own numbers."""
    methods = [row for row in group if row.fields["role"] == "method"]
    for row in methods:
        printed = float(row.fields["mean_rank"] or "nan")
        if printed < 1 or printed > len(methods):
            yield f"{row.where}: a mean rank of {printed} among {len(methods)} methods is impossible; are columns swapped?"
    if len(methods) < 3 or any(set(row.cells) != set(methods[0].cells) or not row.cells for row in methods):
        return
    for row in methods:
        if not row.fields["mean_rank"]:
            continue
        low, high = _rank_range(row, methods)
        printed = float(row.fields["mean_rank"])
        if not low - 0.011 <= printed <= high + 0.011:
            shown = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
            yield f"{row.where}: printed mean rank {printed}, the table's own numbers give {shown}"


def _rank_range(row: Reported, methods: list[Reported]) -> tuple[float, float]:
    """Mean over metrics of the rank, ties counted for the row and against it."""
    low = high = 0
    for task in row.tasks:
        for metric in task.metrics:
            sign = 1 if metric.higher_is_better else -1
            own = sign * row.metrics[task.name][metric.name]
            others = [sign * other.metrics[task.name][metric.name] for other in methods if other is not row]
            low += 1 + sum(other > own for other in others)
            high += 1 + sum(other >= own for other in others)
    return low / len(row.cells), high / len(row.cells)


def _contradictions(rows: list[Reported]) -> Iterator[str]:
    """One method under one protocol with different numbers in different places."""
    first: dict[tuple[str, str, str], Reported] = {}
    for row in rows:
        if row.fields["role"] == "stderr" or not row.cells:
            continue
        key = (row.fields["dataset"], row.fields["protocol"], row.method)
        known = first.setdefault(key, row)
        pairs = [pair for pair in row.cells if pair in known.cells and not _same(row.cells[pair], known.cells[pair])]
        if pairs:
            shown = ", ".join(
                f"{metric} {row.cells[task, metric]} against {known.cells[task, metric]}" for task, metric in pairs
            )
            yield f"{row.where}: differs from {known.file}:{known.line} under the same protocol: {shown}"


def _same(a: str, b: str) -> bool:
    """Equal up to the digits that both were printed with."""
    return abs(float(a) - float(b)) <= max(_ulp(a), _ulp(b)) * 1.000001


def _ulp(text: str) -> float:
    """Half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def ranks(rows: Sequence[Reported]) -> dict[int, dict[str, int]]:
    """Line → definition → rank among the methods of the same published table, from recomputed Δ."""
    groups: dict[tuple[str, str, str], list[Reported]] = defaultdict(list)
    for row in rows:
        if row.deltas:
            groups[row.group].append(row)
    places: dict[int, dict[str, int]] = defaultdict(dict)
    for group in groups.values():
        for name in deltas.DEFINITIONS:
            for index, rank in deltas.ranks({str(i): row.deltas[name] for i, row in enumerate(group)}).items():
                places[id(group[int(index)])][name] = rank
    return places
