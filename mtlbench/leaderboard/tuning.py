"""Searches for hyper-parameters on a board: each winner with the trials that it was chosen from and its untuned self."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.table import Row, Table
from mtlbench.leaderboard.tuning_card import tuning_card
from mtlbench.records import Record, Tuning
from mtlbench.records.values import Json
from mtlbench.statistics.importance import Value, importances
from mtlbench.statistics.intervals import Interval
from mtlbench.statistics.tuning import BestOfK, best_of_k, paired_gain


@dataclass(frozen=True)
class TunedMethod:
    """One row of a tuned table.

    Attributes:
        row: the winner, over its seeds.
        tuning: of its first record.
        trials: those of the budget that left a record, in the order of their numbers.
        untuned: the same method at its defaults, with the table that it stands in; None where it was not run.
    """

    row: Row
    tuning: Tuning
    trials: list[Record]
    untuned: tuple[Table, Row] | None

    @property
    def curve(self) -> list[BestOfK]:
        """What smaller budgets would have found, in mean skill."""
        return best_of_k(
            [trial.result.val.mean_skill for trial in self.trials], [trial.result.test.mean_skill for trial in self.trials]
        )

    @property
    def gain(self) -> Interval | None:
        """Tuned minus untuned mean skill on test, paired by seed."""
        if self.untuned is None:
            return None
        return paired_gain(_skills(self.untuned[1]), _skills(self.row))

    @property
    def importances(self) -> tuple[str, dict[str, float]]:
        """How they were found, and what was searched → importance."""
        skills = [trial.result.val.mean_skill for trial in self.trials]
        return importances([searched(trial) for trial in self.trials], skills)


@dataclass(frozen=True)
class TunedTable:
    """The rows of one tuning card that come from searches, in the table's order."""

    table: Table
    budget: int
    methods: list[TunedMethod]


def tuned_tables(board: Board) -> list[TunedTable]:
    """The tables of winners, with everything that is known of their searches."""
    result = []
    for table in board.tables:
        methods = [
            _tuned_method(board, row, row.tuning, tuning_card(row.records[0]).trials)
            for row in table.rows
            if row.tuning is not None
        ]
        if methods:
            result.append(TunedTable(table, tuning_card(methods[0].row.records[0]).trials, methods))
    return result


def _tuned_method(board: Board, row: Row, tuning: Tuning, budget: int) -> TunedMethod:
    numbered = {
        trial.tuning.number: trial
        for trial in board.trials
        if trial.tuning is not None and trial.tuning.study == tuning.study and trial.tuning.number < budget
    }
    trials = [numbered[number] for number in sorted(numbered)]
    return TunedMethod(row, tuning, trials, _untuned(board, row, tuning, numbered.get(0)))


def _untuned(board: Board, row: Row, tuning: Tuning, first: Record | None) -> tuple[Table, Row] | None:
    """The row at the defaults, which are those of the search's first trial."""
    if first is None:
        return None
    for table in board.tables:
        if table.protocol_id == tuning.default_protocol:
            for other in table.rows:
                same_source = other.records[0].provenance.sources == row.records[0].provenance.sources
                if (other.name, other.method, other.changed) == (row.name, row.method, first.changed) and same_source:
                    return table, other
    return None


def searched(trial: Record) -> dict[str, Value]:
    """What was searched → its value in a trial; a mapping's entries as `weights.depth`."""
    return dict(_flat(trial.tuning.values)) if trial.tuning is not None else {}


def _flat(values: dict[str, Json]) -> Iterator[tuple[str, Value]]:
    for name, value in values.items():
        if isinstance(value, dict):
            # An empty mapping (the default of task weights, say) has no numbers.
            yield from ((f"{name}.{key}", entry) for key, entry in value.items() if isinstance(entry, int | float))
        elif isinstance(value, str | int | float):
            yield name, value
        else:
            yield name, str(value)


def _skills(row: Row) -> dict[int, float]:
    return {record.seed: record.result.test.mean_skill for record in row.records}
