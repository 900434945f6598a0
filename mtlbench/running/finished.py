"""Which trials of a sweep have their record already."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import read


def find_records(trials: Iterable[TrialSpec], results: Path) -> dict[str, Path]:
    """Trial id → its record, in the trials' order, of those that have one.

    A record is known by the id at the end of its file's name, wherever in the folder of results it lies, and by the id in
    it. A file that cannot be read is none: its trial is run again, and its record takes the file's place.
    """
    # Read once: searching the folder for every trial would take time by the square.
    by_id: dict[str, list[Path]] = {}
    for path in sorted(results.rglob("*.json")):
        by_id.setdefault(path.stem.rpartition("-")[2], []).append(path)
    records: dict[str, Path] = {}
    for trial in trials:
        expected = place_of(trial, results)
        paths = sorted(by_id.get(trial.id, []), key=lambda path: path != expected)
        holding = next((path for path in paths if _id_in(path) == trial.id), None)
        if holding is not None:
            records[trial.id] = holding
    return records


def find_record(trial: TrialSpec, results: Path) -> Path | None:
    """The record of a trial, None where there is none."""
    return find_records([trial], results).get(trial.id)


def place_of(trial: TrialSpec, results: Path) -> Path:
    """Where the record of a trial is written."""
    return results / trial.data.name / trial.file_name()


def check_places(trials: Iterable[TrialSpec], results: Path) -> list[str]:
    """Look at what stands where the trials' records will be written; one line per file that will be replaced.

    Raises:
        UserError: the record of another trial stands there. It is not replaced, and the trial would be run in vain.
    """
    replaced = []
    for trial in trials:
        path = place_of(trial, results)
        if not path.exists():
            continue
        holds = _id_in(path)
        if holds is None:
            replaced.append(f"{path} cannot be read as a record: its trial is run again, and its record takes its place.")
        elif holds != trial.id:
            raise UserError(
                f"{path} holds the record of trial {holds}, and the name is that of {trial.id}: move the file away, or give "
                "--force to replace it."
            )
    return replaced


ID = re.compile(rb'^ "id": "(\w+)",$', re.MULTILINE)
"""The line with the id in a record as it is written: sorted keys, one space before those of the record itself."""


def _id_in(path: Path) -> str | None:
    """The id of a record; None where the file is none."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
            file.seek(max(path.stat().st_size - 3, 0))
            # The record's own closing brace alone stands at the start of a line. Thousands of files are not read whole.
            if file.read() == b"\n}\n" and head.startswith(b"{\n") and (line := ID.search(head)):
                return line[1].decode()
        return read(path).id
    except (OSError, UserError):
        return None
