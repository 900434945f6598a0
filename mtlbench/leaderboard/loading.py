"""Reads many records: the good ones, and one line for each that was refused."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mtlbench import records
from mtlbench.errors import UserError
from mtlbench.leaderboard.record_checks import epochs_on_test_problems, problems
from mtlbench.leaderboard.record_consistency import RecordFile, consistent
from mtlbench.leaderboard.record_files import record_files, require_datasets
from mtlbench.records import Record, epochs_on_test
from mtlbench.records.epochs_on_test import EpochsOnTest


def read_checked(paths: Sequence[Path]) -> tuple[list[RecordFile], list[str]]:
    """Read records: the good ones with their files, and one line for each that was refused, with its first problem.

    A record is good if it is fit by itself (`problems`) and contradicts no other (`consistent`).
    """
    fit, refused = [], []
    for path in sorted(paths):
        try:
            record = records.read(path)
        except UserError as error:
            refused.append(str(error))
            continue
        problem = next(problems(record), None)
        if problem is None:
            fit.append((path, record))
        else:
            refused.append(f"{path}: {problem}")
    kept, contradicting = consistent(fit)
    return kept, refused + contradicting


def read_epochs_on_test(files: Sequence[RecordFile]) -> tuple[dict[str, EpochsOnTest], list[str]]:
    """Record id → its epochs on test, where a good file of them lies beside it; and one line for each that was refused."""
    good: dict[str, EpochsOnTest] = {}
    refused = []
    for path, record in files:
        beside = epochs_on_test.existing(path)
        if beside is None:
            continue
        try:
            epochs = epochs_on_test.read(beside)
        except UserError as error:
            refused.append(str(error))
            continue
        problem = next(epochs_on_test_problems(record, epochs), None)
        if problem is None:
            good[record.id] = epochs
        else:
            refused.append(f"{beside}: {problem}")
    return good, refused


def load(results: Path, datasets: Sequence[str] | None = None) -> tuple[list[Record], list[str]]:
    """The good records of a folder, sorted by id, and one line for every file that was refused.

    Raises:
        UserError: the folder does not exist, or has no record of a dataset that was asked for.
    """
    with no_garbage_collection():
        good, refused = read_checked(record_files(results))
    loaded = sorted((record for _, record in good), key=lambda record: record.id)
    require_datasets(results, datasets, {record.dataset for record in loaded})
    return [record for record in loaded if not datasets or record.dataset in datasets], refused


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For reading many records: all of them live, and looking for dead ones would take half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
