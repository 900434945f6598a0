"""Draw everything: from a folder of records to a folder of leaderboards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtlbench import record as records
from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard import export, figures, markdown
from mtlbench.leaderboard.table import Board, boards
from mtlbench.record import Record, write_text


def record_files(results: Path) -> list[Path]:
    """The record files below a folder, sorted; hidden ones (half-written) are left out."""
    return sorted(path for path in results.rglob("*.json") if not path.name.startswith("."))


def load(results: Path, datasets: Sequence[str] | None = None) -> tuple[list[Record], list[str]]:
    """The records of a folder, and one line for every file that was refused.

    Raises:
        UserError: the folder does not exist, or none of its records is of a dataset that was asked for.
    """
    if not results.is_dir():
        raise UserError(
            f"{results}: no such folder of records. Run `mtlbench bench` first, or name the folder with --results."
        )
    found, refused = records.read_all(record_files(results))
    known = {record.dataset for record in found}
    for name in datasets or ():
        if name not in known:
            raise UserError(f"{results} has no record of dataset {name!r}.{did_you_mean(name, known)}")
    return [record for record in found if not datasets or record.dataset in datasets], refused


def draw(results: Path, out: Path, datasets: Sequence[str] | None = None) -> list[Path]:
    """Write the leaderboards of all datasets, or of those named: `out/<dataset>/README.md`, CSV files and figures.

    The same records give the same bytes. Returns the files, the README of each dataset first.
    """
    found, _ = load(results, datasets)
    return [path for board in boards(found) for path in draw_board(board, out / board.dataset)]


def draw_board(board: Board, folder: Path) -> list[Path]:
    """Write one dataset's files."""
    pictures: dict[str, list[str]] = {}
    drawn: list[Path] = []
    for table in board.tables:
        files = figures.trade_off(table, "flops", folder / f"delta_vs_flops-{table.protocol_id}")
        pictures[table.protocol_id] = [path.name for path in files if path.suffix == ".png"]
        drawn += files
    texts = {
        "README.md": markdown.board(board, pictures),
        "leaderboard.csv": export.leaderboard(board),
        "seeds.csv": export.seeds(board),
    }
    for name, content in texts.items():
        write_text(folder / name, content)
    return [*(folder / name for name in texts), *drawn]
