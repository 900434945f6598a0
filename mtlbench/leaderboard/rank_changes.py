"""What changes in the rankings between two sets of records: rows that come, go, or move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mtlbench.leaderboard import number_format
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.table import Table
from mtlbench.records import Record


@dataclass(frozen=True)
class RowState:
    """A row as one table shows it: texts.

    Attributes:
        rank: as the table shows it: a number, "=" behind it where it is tied with the first, or why there is none.
        quality: Δ (or the mean skill, where there is no reference) with its interval.
    """

    rank: str
    quality: str
    seeds: int


@dataclass(frozen=True)
class RowChange:
    """A row before and after; None where it is not there."""

    name: str
    before: RowState | None
    after: RowState | None

    @property
    def kind(self) -> str:
        """`new`, `gone`, `rank`, `numbers` or `same`."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        if self.before.rank != self.after.rank:
            return "rank"
        return "same" if self.before == self.after else "numbers"


@dataclass(frozen=True)
class TableChange:
    """The ranking of one dataset under one protocol.

    Attributes:
        sort: heading of the column that sorts; empty where the two sides are sorted by different ones.
        rows: in the order of the table after, then those that are gone.
    """

    dataset: str
    protocol_id: str
    sort: str
    rows: list[RowChange]

    @property
    def changed(self) -> list[RowChange]:
        return [row for row in self.rows if row.kind != "same"]


def rank_changes(before: Iterable[Record], after: Iterable[Record]) -> list[TableChange]:
    """Every ranking of either side, sorted by dataset; rows are the same if method, settings and sources are."""
    old, new = _tables(before), _tables(after)
    return [_change(old.get(key), new.get(key)) for key in sorted({**old, **new})]


def _tables(records: Iterable[Record]) -> dict[tuple[str, str], Table]:
    return {(table.dataset, table.protocol_id): table for board in boards(records) for table in board.tables}


def _change(before: Table | None, after: Table | None) -> TableChange:
    table = after or before
    assert table is not None
    sorted_alike = before is None or after is None or before.sort == after.sort
    old, new = dict(_states(before, not sorted_alike)), dict(_states(after, not sorted_alike))
    names = {key: name for key, (name, _) in {**old, **new}.items()}
    # Rows in the order of the table after; those that are gone follow.
    order = [*new, *(key for key in old if key not in new)]
    rows = [RowChange(names[key], old.get(key, ("", None))[1], new.get(key, ("", None))[1]) for key in order]
    heading = _heading(table) if sorted_alike else ""
    return TableChange(table.dataset, table.protocol_id, heading, rows)


def _heading(table: Table) -> str:
    return number_format.header(table.column(table.sort), number_format.number_formats(table)[table.sort])


def _states(table: Table | None, named: bool) -> Iterator[tuple[str, tuple[str, RowState | None]]]:
    """Key of a row → its title and how the table shows it; `named`: with the name of the column that sorts."""
    if table is None:
        return
    form = number_format.number_formats(table)[table.sort]
    prefix = f"{_heading(table)} " if named else ""
    for row in table.rows:
        quality = prefix + form.cell(row.cells[table.sort])
        yield row.key, (row.title, RowState(number_format.rank_text(table, row), quality, len(row.records)))


def as_text(changes: Iterable[TableChange]) -> str:
    """A report for a person."""
    lines: list[str] = []
    for table in changes:
        title = f"{table.dataset} · protocol {table.protocol_id}"
        if not table.changed:
            lines += [f"{title}: {_count(len(table.rows), 'row')}, none of them changes", ""]
            continue
        width = max(len(row.name) for row in table.changed)
        lines += [title, f"  {'':<{width}}  {'rank':<18}{'seeds':<9}{table.sort}"]
        lines += [f"  {row.name:<{width}}  {_row_text(row)}" for row in table.changed]
        same = len(table.rows) - len(table.changed)
        lines += [*([f"  {_count(same, 'row')} unchanged"] if same else []), ""]
    return "\n".join(lines)


def _row_text(row: RowChange) -> str:
    sides = [side for side in (row.before, row.after) if side is not None]
    rank, seeds, quality = (
        " → ".join(dict.fromkeys(texts))
        for texts in ([side.rank for side in sides], [str(side.seeds) for side in sides], [side.quality for side in sides])
    )
    word = {"new": "  new row", "gone": "  row is gone"}.get(row.kind, "")
    return f"{rank:<18}{seeds:<9}{quality}{word}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
