"""Test-set selection bias of all rows: in files and a page section of its own, never ranked.

Drawn from the epochs on test that `mtlbench selection-bias` evaluated after everything else
(`mtlbench.records.epochs_on_test`); what is measured is said in `mtlbench.statistics.selection_bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.frames import frame
from mtlbench.leaderboard.markdown import escape, grid
from mtlbench.leaderboard.number_format import MISSING, PERCENT, SKILL, NumberFormat
from mtlbench.leaderboard.table import Row, Table
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.statistics.intervals import t_interval
from mtlbench.statistics.selection_bias import MEASURES, Baselines, selection_bias

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Mapping[str, tuple[str, NumberFormat]] = {
    "skill": ("skill, as ranked", SKILL),
    "best_skill": ("best epoch on test", SKILL),
    "best_skill_per_task": ("best epoch per task", SKILL),
    "skill_bias": ("bias", SKILL),
    "delta": ("Δ (%), as ranked", PERCENT),
    "best_delta": ("best epoch on test", PERCENT),
    "best_delta_both": ("reference's best, too", PERCENT),
    "delta_bias": ("bias", PERCENT),
    "regret": ("regret", PERCENT),
}
"""Measure → heading and format."""

EXPLAINED = (
    "No number here is ranked. For the leaderboard, test was used once, by the epochs that val selected; afterwards every "
    "epoch that could have been selected was evaluated on it. The *bias* is what reporting the best epoch on test would "
    "have added; *regret* is what selecting by Δ on val instead of by skill on val would have gained on test (in % of Δ). "
    "Each is the mean over the seeds that kept their epochs, ± the half-width of its 95 % t interval."
)


@dataclass(frozen=True)
class BiasRow:
    """One row: measure → its value for every seed that kept its epochs."""

    row: Row
    seeds: tuple[int, ...]
    values: dict[str, tuple[float, ...]]

    def text(self, measure: str) -> str:
        """Mean and interval over seeds."""
        if measure not in self.values:
            return MISSING
        interval = t_interval(self.values[measure])
        return COLUMNS[measure][1].interval(interval.mean, interval.half)


@dataclass(frozen=True)
class BiasTable:
    """The rows of one protocol."""

    protocol_id: str
    rows: list[BiasRow]

    @property
    def headings(self) -> list[str]:
        return [heading for heading, _ in COLUMNS.values()]

    @property
    def lines(self) -> list[tuple[str, list[str], int]]:
        """Name, texts and number of seeds of every row."""
        return [(row.row.title, [row.text(name) for name in COLUMNS], len(row.seeds)) for row in self.rows]


def bias_tables(board: Board, epochs: Mapping[str, EpochsOnTest]) -> list[BiasTable]:
    """The tables of which some trial kept its epochs.

    Args:
        epochs: record id → its epochs on test.
    """
    tables = [BiasTable(table.protocol_id, bias_rows(table, epochs)) for table in board.tables]
    return [table for table in tables if table.rows]


def bias_rows(table: Table, epochs: Mapping[str, EpochsOnTest]) -> list[BiasRow]:
    """The rows of which some seed kept its epochs, in the table's order."""
    reference = table.reference
    baselines = None if reference is None else Baselines.of(reference.records, epochs, table.tasks)
    rows = []
    for row in table.rows:
        records = [record for record in row.records if record.id in epochs]
        if not records:
            continue
        seeds = [selection_bias(record, epochs[record.id], table.tasks, baselines) for record in records]
        values = {
            name: tuple(measures[name] for measures in seeds)
            for name in MEASURES
            if all(name in measures for measures in seeds)
        }
        rows.append(BiasRow(row, tuple(record.seed for record in records), values))
    return rows


def markdown(dataset: str, tables: list[BiasTable]) -> str:
    """The page of one dataset."""
    parts = [f"# {escape(dataset)}: test-set selection bias", EXPLAINED]
    for table in tables:
        head = ["method", *table.headings, "seeds"]
        lines = [[escape(name), *texts, str(seeds)] for name, texts, seeds in table.lines]
        parts += [f"## Protocol `{table.protocol_id}`", grid(head, lines, left=1)]
    return "\n\n".join(parts) + "\n"


def bias_frame(tables: list[BiasTable]) -> pd.DataFrame:
    """One line per record, every measure in full."""
    lines = [
        {
            "protocol_id": table.protocol_id,
            "row": row.row.title,
            "seed": seed,
            **{name: values[position] for name, values in row.values.items()},
        }
        for table in tables
        for row in table.rows
        for position, seed in enumerate(row.seeds)
    ]
    return frame(lines, ["protocol_id", "row", "seed", *MEASURES])
