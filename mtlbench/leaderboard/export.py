"""CSV: every number in full, for whoever wants to recompute a table."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from mtlbench.leaderboard.protocols import text
from mtlbench.leaderboard.table import Board, Cell, Row

IDENTITY = ("protocol_id", "key", "row", "method", "settings", "reference", "seeds", "selection")


def leaderboard(board: Board) -> str:
    """One line a row: mean over seeds of every column, `…/ci95` its half-width, `…/mark` best or tied.

    A Δ has `…/ci95` with the reference's noise and `…/ci95_own` without.
    """
    keys = _keys(board)
    header: list[str] = list(IDENTITY)
    for key in keys:
        header += [key] if key.startswith("rank/") else [key, f"{key}/ci95", f"{key}/mark"]
        header += [f"{key}/ci95_own"] if key.startswith("delta/") else []
    lines: list[list[str]] = [header]
    for table in board.tables:
        for row in table.rows:
            line = _identity(table.protocol_id, row)
            for key in keys:
                cell = row.cells.get(key)
                if key.startswith("rank/"):
                    line.append(_number(cell.mean) if cell else "")
                    continue
                line += [_number(cell.mean), _number(cell.half), cell.mark] if cell else ["", "", ""]
                if key.startswith("delta/"):
                    line.append(_number(cell.own) if cell else "")
            lines.append(line)
    return _csv(lines)


def seeds(board: Board) -> str:
    """One line a record: what every seed measured, and the record's id."""
    keys = [key for key in _keys(board) if not key.startswith("rank/")]
    lines: list[list[str]] = [["protocol_id", "key", "row", "seed", "record", *keys]]
    for table in board.tables:
        for row in table.rows:
            for position, record in enumerate(row.records):
                cells = [_seed(row.cells.get(key), position) for key in keys]
                lines.append([table.protocol_id, row.key, row.title, str(record.seed), record.id, *cells])
    return _csv(lines)


def _keys(board: Board) -> list[str]:
    """The columns of all tables, each where it first stands."""
    used = {key for table in board.tables for row in table.rows for key in row.cells}
    keys: dict[str, None] = {}
    for table in board.tables:
        keys.update(dict.fromkeys(column.key for column in table.columns if column.key in used))
    return list(keys)


def _identity(protocol_id: str, row: Row) -> list[str]:
    reference = "yes" if row.reference else "no"
    return [
        protocol_id,
        row.key,
        row.name,
        row.method,
        row.settings,
        reference,
        text(row.seeds).replace(",", ""),
        row.selection,
    ]


def _seed(cell: Cell | None, position: int) -> str:
    return _number(cell.values[position]) if cell and position < len(cell.values) else ""


def _number(value: float) -> str:
    """The shortest text that reads back as the same number; whole numbers without a point; empty for NaN."""
    if math.isnan(value):
        return ""
    return (
        str(int(value)) if value == int(value if math.isfinite(value) else 0) and abs(value) < 2**53 else repr(float(value))
    )


def _csv(lines: list[list[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
