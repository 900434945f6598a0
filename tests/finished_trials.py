"""Trials that are finished, made once per process: what predictions, exports and submissions are tested with."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mtlbench.records import Record, read
from mtlbench.running.run_trial import run_trial
from tests.tiny import trials


@dataclass(frozen=True)
class Finished:
    """Folders and records of two seeds of hard sharing on small streets. Not to be changed: make a copy."""

    results: Path
    runs: Path
    records: tuple[Record, ...]

    @property
    def id(self) -> str:
        return self.records[0].id

    @property
    def options(self) -> list[str]:
        """Where commands find them."""
        return ["--results", str(self.results), "--runs", str(self.runs)]


@cache
def finished() -> Finished:
    """Run the trials, the first time it is called."""
    folder = Path(tempfile.mkdtemp(prefix="mtlbench-finished-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    specs = trials(folder, ["hard_sharing"], settings={"epochs": 2}, seeds=2)
    paths = [run_trial(spec, folder / "runs", folder / "results") for spec in specs]
    return Finished(folder / "results", folder / "runs", tuple(map(read, paths)))
