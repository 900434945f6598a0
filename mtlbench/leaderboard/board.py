"""The board of a dataset: one table per protocol, and the protocol fields in which the tables differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.table import Table
from mtlbench.leaderboard.table_builder import build_table
from mtlbench.records import Record
from mtlbench.records.values import Json


@dataclass
class Board:
    """Everything that is known about one dataset. Rows of unequal protocols never stand in one ranking.

    Attributes:
        tables: one per protocol, the largest first.
        trials: of searches for hyper-parameters: the configurations that were compared on val. They stand in no table.
        differs: protocol field → protocol id → value, for the fields in which the protocols differ.
    """

    dataset: str
    tables: list[Table]
    differs: dict[str, dict[str, Json]]
    trials: list[Record] = field(default_factory=list)


def boards(records: Iterable[Record]) -> list[Board]:
    """One board per dataset, sorted by name, from records in any order. None for datasets with trials of searches alone."""
    by_dataset: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    unique = {(record.dataset, record.id): record for record in records}
    trials: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(unique.values(), key=lambda record: record.id):
        if record.tuning is not None and record.tuning.role == "trial":
            trials[record.dataset].append(record)
        else:
            by_dataset[record.dataset][record.protocol_id].append(record)
    made = []
    for dataset, by_protocol in sorted(by_dataset.items()):
        tables = [build_table(group) for group in by_protocol.values()]
        tables.sort(key=lambda table: (-len(table.rows), table.protocol_id))
        differs = protocols.differences({table.protocol_id: table.protocol for table in tables})
        made.append(Board(dataset, tables, differs, trials[dataset]))
    return made
