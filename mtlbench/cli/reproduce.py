"""`mtlbench reproduce`: run a record's trial again, and say whether the result is the same."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mtlbench.cli.options import add_folders
from mtlbench.errors import UserError

if TYPE_CHECKING:
    from mtlbench.records import Record
    from mtlbench.records.reproduction import Comparison

SHOWN = 8
"""Values of one field that are shown when they differ."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the trial of a record again, from its specification and with the plugins, data and versions that are here, "
        "and say field by field whether the result is the same. Times, memory, dates and the machine are not compared. "
        "Exit code 0: the same; 1: different."
    )
    parser.add_argument("name", metavar="ID", help="a record's id (or its beginning), or its file")
    parser.add_argument("--dataset", "-d", help="the dataset, where several have a record of that name")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the dataset's raw files")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the new run in DIR/reproduced-ID (default: it is removed)"
    )
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    from mtlbench.cli.options import announce
    from mtlbench.config.plugins import Registry
    from mtlbench.leaderboard.find_records import find
    from mtlbench.records.reproduction import compare
    from mtlbench.running.display import Display
    from mtlbench.running.reproduction import plan_again, run_again

    console = Console()
    records = find(arguments.results, arguments.name, arguments.dataset)
    if len(records) > 1:
        ids = ", ".join(record.id for record in records)
        raise UserError(f"{arguments.name!r} names {len(records)} records: give the id of one ({ids}).")
    record = records[0]
    trial = plan_again(
        record,
        arguments.runs,
        Registry(arguments.plugins),
        cache=arguments.cache.expanduser().resolve(),
        root=arguments.data.expanduser().resolve() if arguments.data else None,
        progress=announce,
    )
    with _folder(arguments.out, record.id) as folder:
        with Display(1, console) as display:
            again = run_again(trial, record, folder, lambda progress: display.epoch(trial, vars(progress)))
        comparison = compare(record, again)
        print("\n".join(report(record, comparison)))
        if arguments.out:
            print(f"The new run is in {folder}.")
    return 1 if comparison.different else 0


def report(record: Record, comparison: Comparison) -> list[str]:
    """Lines for a person."""
    lines = ["", f"{record.row} on {record.dataset}, seed {record.seed}, record {record.id}, run again:"]
    lines += [f"  same          {name}" for name in comparison.same]
    for name, differences in comparison.different.items():
        lines.append(f"  DIFFERENT     {name}: {len(differences)} value{'s' if len(differences) > 1 else ''}")
        lines += [f"                  {difference.place}  {difference.text}" for difference in differences[:SHOWN]]
        if len(differences) > SHOWN:
            lines.append(f"                  and {len(differences) - SHOWN} more")
    lines += [f"  not compared  {name}: {text}" for name, text in comparison.not_compared.items()]
    if not comparison.different:
        return [*lines, "The same result."]
    if not comparison.causes:
        return [*lines, "Different, and nothing known differs between the two runs: the trial does not repeat itself."]
    return [*lines, "Different. What else differs, the likeliest cause first:", *(f"  {text}" for text in comparison.causes)]


@contextmanager
def _folder(out: Path | None, record: str) -> Iterator[Path]:
    """A folder of its own for the new run, so that no other run is touched."""
    if out is not None:
        yield out / f"reproduced-{record}"
        return
    with tempfile.TemporaryDirectory(prefix="mtlbench-reproduce-") as name:
        yield Path(name)
