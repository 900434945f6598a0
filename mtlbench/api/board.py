"""Leaderboards from Python: the table as a data frame, and the pages where they are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.api.record_frame import files_in, good_records
from mtlbench.errors import UserError
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.draw import draw_all
from mtlbench.leaderboard.frames import rows_frame
from mtlbench.leaderboard.record_files import record_files

if TYPE_CHECKING:
    import pandas as pd


def leaderboard(records: str | Path | pd.DataFrame = "results", out: str | Path | None = None) -> pd.DataFrame:
    """The leaderboard of a folder of records, or of a frame of them (whole, or any rows chosen from it).

    Args:
        records: a folder, or a frame of `load_records` or `bench`.
        out: a folder for the pages, pictures and tables; None: nothing is written. The records of a frame are copied to
            `out/records`, so that the pages do not change with the folder that they are from.

    Returns:
        One line per dataset, protocol and row, best first within each protocol: `dataset`, `protocol_id`, `row`, `method`,
        `settings`, `seeds`, then the mean over seeds of every column, with `…/ci95` (the half-width of its 95 % interval,
        NaN with one seed) and `…/mark` (best, or tied with the best). `delta/task` (in %) sorts.

    Raises:
        UserError: no records there, or a frame of something else.
    """
    import pandas as pd

    is_folder = isinstance(records, str | Path)
    paths = record_files(Path(records)) if isinstance(records, str | Path) else files_in(records)
    files = good_records(paths)
    if not files:
        raise UserError(f"There is no record {f'in {records}' if is_folder else 'in the data frame'} to draw.")
    if out is not None:
        folder = Path(records) if isinstance(records, str | Path) else Path(out) / "records"
        if not is_folder:
            shutil.rmtree(folder, ignore_errors=True)
            for path, record in files:
                (folder / record.dataset).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / record.dataset / path.name)
        draw_all(folder, Path(out))
    frames = []
    for board in boards(record for _, record in files):
        rows = rows_frame(board)
        rows.insert(0, "dataset", board.dataset)
        frames.append(rows.drop(columns="key"))
    return pd.concat(frames, ignore_index=True)
