"""Which trials of a sweep have their record already."""

from __future__ import annotations

from pathlib import Path

from mtlbench.planning.trial_spec import TrialSpec


def find_record(trial: TrialSpec, results: Path) -> Path | None:
    """The record of a trial, wherever in the folder of results its id stands in a file's name."""
    expected = results / trial.data.name / trial.file_name()
    if expected.is_file():
        return expected
    return next(iter(sorted(results.glob(f"**/*{trial.id}.json"))), None)
