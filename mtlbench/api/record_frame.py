"""Records as a data frame: one row per record, one column per number."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.errors import UserError
from mtlbench.leaderboard import protocols
from mtlbench.leaderboard.columns import values_of
from mtlbench.leaderboard.loading import no_garbage_collection, read_checked
from mtlbench.leaderboard.record_consistency import RecordFile
from mtlbench.leaderboard.record_files import record_files, require_datasets

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("record", "dataset", "row", "method", "settings", "seed", "reference", "protocol_id", "created", "file")
"""The columns that say what a record is; those after them are numbers."""


def load_records(folder: str | Path = "results", datasets: str | Sequence[str] | None = None) -> pd.DataFrame:
    """The good records of a folder and its subfolders. A file that is refused is named in a warning, with the reason.

    Args:
        datasets: only the records of these (names, or a comma list).

    Returns:
        One row per record, sorted by dataset, row and seed. First what it is: `record` (its id), `dataset`, `row` (its name
        in a leaderboard), `method`, `settings` (hyper-parameters that are not at their defaults), `seed`, `reference`
        (whether Δ is measured against it), `protocol_id` (only records with equal ones are comparable), `created`,
        `file`. Then numbers, NaN where a record has none: `test/TASK/METRIC`, `skill/TASK`, `mean_skill` (0: as good as
        the best constant, 1: perfect), `val/mean_skill`, `parameters`, `flops` (one image, all tasks), `images`,
        `updates`, `training_flops`, `training_seconds`, `peak_memory_bytes`, `latency_ms/BATCH`, `robustness/…`,
        `shifted/…`, `extra/…`.

    Raises:
        UserError: no such folder, or no record of a dataset that was asked for.
    """
    folder, names = Path(folder), named(datasets)
    files = good_records(record_files(folder))
    require_datasets(folder, names, {record.dataset for _, record in files})
    return frame_of([(path, record) for path, record in files if not names or record.dataset in names])


def good_records(paths: Sequence[Path]) -> list[RecordFile]:
    """The records that are fit for a leaderboard; a warning names each of the others, and why."""
    with no_garbage_collection():
        files, refused = read_checked(paths)
    for line in refused:
        warnings.warn(f"left out: {line}", stacklevel=3)
    return files


def frame_of(files: Sequence[RecordFile]) -> pd.DataFrame:
    """A data frame of records; see `load_records`."""
    import pandas as pd

    lines = []
    for path, record in sorted(files, key=lambda file: (file[1].dataset, file[1].row, file[1].seed, file[1].id)):
        identity = {
            "record": record.id,
            "dataset": record.dataset,
            "row": record.row,
            "method": record.method,
            "settings": ", ".join(f"{name}={protocols.as_text(value)}" for name, value in sorted(record.changed.items())),
            "seed": record.seed,
            "reference": record.reference,
            "protocol_id": record.protocol_id,
            "created": record.provenance.created,
            "file": str(path),
        }
        lines.append({**identity, "val/mean_skill": record.result.val.mean_skill, **values_of(record)})
    numbers = dict.fromkeys(key for line in lines for key in line if key not in IDENTITY)
    return pd.DataFrame(lines, columns=[*IDENTITY, *numbers])


def named(names: str | Sequence[str] | None) -> list[str]:
    """Names from a comma list, or from a list of them."""
    parts = names.split(",") if isinstance(names, str) else (names or ())
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def files_in(frame: pd.DataFrame) -> list[Path]:
    """The record files of a frame of `load_records`.

    Raises:
        UserError: it is no such frame.
    """
    if "file" not in frame.columns:
        raise UserError("The data frame has no column 'file': expected one of mtlbench.load_records or mtlbench.bench.")
    return [Path(name) for name in frame["file"]]
