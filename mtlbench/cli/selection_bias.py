"""`mtlbench selection-bias`: what selection on test would have claimed, from the epochs that trials kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.records import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Evaluate every epoch that could have been selected on test, for all trials that were run with "
        "--keep-checkpoints, and draw the test-set selection bias: what reporting the best of them would have claimed. In "
        "a file and a page section of its own, never ranked. To be run after everything else."
    )
    parser.add_argument("--dataset", "-d", help="a name or a comma list (default: all that have records)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="records (default: results)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints of trials (default: runs)")
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="leaderboards (default: leaderboards)")


def run(arguments: argparse.Namespace) -> int:
    from mtlbench import records
    from mtlbench.leaderboard.draw import draw
    from mtlbench.leaderboard.record_files import record_files
    from mtlbench.records.epochs_on_test import existing
    from mtlbench.training.checkpoints import CheckpointStore

    console = Console()
    datasets = [part.strip() for part in arguments.dataset.split(",")] if arguments.dataset else None
    done, left_out = [], []
    for path in record_files(arguments.results):
        # The id ends the file's name, so that thousands of records need not be read to find the few that kept epochs.
        if not CheckpointStore(arguments.runs / path.stem.rpartition("-")[2]).kept_epochs() and existing(path) is None:
            continue
        try:
            record = records.read(path)
            if datasets and record.dataset not in datasets:
                continue
            if not _is_up_to_date(path, record):
                epochs = _evaluate(path, record, arguments.runs)
                console.print(f"{_title(record)}: {epochs} epochs", highlight=False)
        except UserError as error:
            left_out.append(str(error))
            continue
        done.append(record)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if not done:
        raise UserError(
            f"No trial in {arguments.runs} kept its epochs: run `mtlbench bench … --keep-checkpoints` (in a new --results "
            "folder if the records are there), then this."
        )
    for path in draw(arguments.results, arguments.out, sorted({record.dataset for record in done})):
        if path.name.startswith("selection_bias") or path.name == "index.html":
            console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return 0


def _evaluate(path: Path, record: Record, runs: Path) -> int:
    """Evaluate the kept epochs and write them beside the record; returns how many there are."""
    from mtlbench.records.epochs_on_test import path_of, write
    from mtlbench.running.epochs_on_test import evaluate_epochs_on_test

    epochs = evaluate_epochs_on_test(record, runs)
    if not epochs.fits(record):
        raise UserError(
            f"{_title(record)}: its kept epochs do not give the test metrics of its record. Remove one or the other, and "
            "train it again with --keep-checkpoints."
        )
    write(path_of(path), epochs)
    return len(epochs.test)


def _title(record: Record) -> str:
    return f"{record.row} on {record.dataset}, seed {record.seed}"


def _is_up_to_date(path: Path, record: Record) -> bool:
    """Whether a file beside the record is of the record as it is: readable, and not from before it was trained again."""
    from mtlbench.records.epochs_on_test import existing, read

    beside = existing(path)
    if beside is None:
        return False
    try:
        epochs = read(beside)
    except UserError:
        return False
    return epochs.record == record.id and epochs.fits(record)
