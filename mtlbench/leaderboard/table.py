"""A table of a leaderboard: rows of methods over their seeds, and cells that are means over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.tuning_card import tuning_card
from mtlbench.records import Record, TaskInfo, Tuning
from mtlbench.records.values import JsonObject


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
    """One method of a table, over its seeds.

    Attributes:
        key: unique in the table.
        changed: the hyper-parameters that are not at their defaults.
        version: of the sources, where rows differ in nothing else; else empty.
        reference: True for single-task networks that Δ can be measured against.
        records: one per seed.
        cells: column key → cell.
    """

    key: str
    name: str
    method: str
    changed: JsonObject
    version: str
    reference: bool
    records: list[Record]
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return [record.seed for record in self.records]

    @property
    def settings(self) -> str:
        """The hyper-parameters that are not at their defaults, of a tuned row the settings that were searched and what its
        search was if not fixed draws, and the version of the sources where several compete."""
        parts = [f"{name}={protocols.as_text(value)}" for name, value in sorted(self.changed.items())]
        if self.tuning is not None:
            card = tuning_card(self.records[0])
            parts = [f"{name}={protocols.as_text(self.tuning.values[name])}" for name in card.settings] + parts + card.marks
        return ", ".join([*parts, f"sources {self.version}"] if self.version else parts)

    @property
    def tuning(self) -> Tuning | None:
        """How its hyper-parameters were found; None for rows outside of a search."""
        return self.records[0].tuning

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
        rows: best first.
        sort: the column that sorts: `delta/task`, or `mean_skill` where there is no reference.
        band: definition of Δ → half-width of the reference's own noise around 0; empty without a reference.
        undefined: metrics left out of Δ because the reference is 0 or not finite there.
        notes: what a reader must know, one sentence each.
    """

    dataset: str
    protocol_id: str
    protocol: JsonObject
    tasks: list[TaskInfo]
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
