"""A board as data frames, and these as CSV: every number in full, for whoever wants to recompute a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.table import Row

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("protocol_id", "key", "row", "method", "settings", "reference", "seeds", "selection")


def rows_frame(board: Board) -> pd.DataFrame:
    """One line per row: mean over seeds of every column, `…/ci95` its half-width, `…/mark` best or tied.

    A Δ has `…/ci95` with the reference's noise and `…/ci95_own` without.
    """
    keys = _column_keys(board)
    header: list[str] = list(IDENTITY)
    for key in keys:
        header += [key] if key.startswith("rank/") else [key, f"{key}/ci95", f"{key}/mark"]
        header += [f"{key}/ci95_own"] if key.startswith("delta/") else []
    lines = [_row_values(table.protocol_id, row) for table in board.tables for row in table.rows]
    return frame(lines, header)


def seeds_frame(board: Board) -> pd.DataFrame:
    """One line per record: what every seed measured, and the record's id."""
    keys = [key for key in _column_keys(board) if not key.startswith("rank/")]
    lines = []
    for table in board.tables:
        for row in table.rows:
            for position, record in enumerate(row.records):
                line: dict[str, object] = {
                    "protocol_id": table.protocol_id,
                    "key": row.key,
                    "row": row.title,
                    "seed": record.seed,
                    "record": record.id,
                }
                for key, cell in row.cells.items():
                    if position < len(cell.values):
                        line[key] = cell.values[position]
                lines.append(line)
    return frame(lines, ["protocol_id", "key", "row", "seed", "record", *keys])


def frame(lines: Iterable[dict[str, object]] | Iterable[tuple[object, ...]], header: Sequence[str]) -> pd.DataFrame:
    """A data frame with these columns, in this order; a line may lack some, and have others that are left out."""
    # Here, because commands that draw nothing must not wait for it.
    import pandas as pd

    return pd.DataFrame(list(lines), columns=list(header))


def csv_text(data: pd.DataFrame) -> str:
    """CSV whose numbers read back as the same; columns of whole numbers without a point; empty where undefined."""
    text: str = data.convert_dtypes(convert_string=False).to_csv(index=False, lineterminator="\n")
    return text


def _column_keys(board: Board) -> list[str]:
    """The columns of all tables that have a number, in the order of their first table."""
    used = {key for table in board.tables for row in table.rows for key in row.cells}
    keys: dict[str, None] = {}
    for table in board.tables:
        keys.update(dict.fromkeys(column.key for column in table.columns if column.key in used))
    return list(keys)


def _row_values(protocol_id: str, row: Row) -> dict[str, object]:
    values: dict[str, object] = {
        "protocol_id": protocol_id,
        "key": row.key,
        "row": row.name,
        "method": row.method,
        "settings": row.settings,
        "reference": "yes" if row.reference else "no",
        "seeds": " ".join(map(str, row.seeds)),
        "selection": row.selection,
    }
    for key, cell in row.cells.items():
        values |= {key: cell.mean, f"{key}/ci95": cell.half, f"{key}/mark": cell.mark, f"{key}/ci95_own": cell.own}
    return values
