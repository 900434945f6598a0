"""Durations are measured with clocks that nobody can set: a wall clock that jumps shows in none."""

from __future__ import annotations

import itertools
import re
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import mtlbench
from mtlbench.records import read
from mtlbench.running.display import Display
from mtlbench.running.remaining import Remaining
from mtlbench.running.run_trial import run_trial
from tests.tiny import trials

WALL_CLOCK = {"cli/status.py", "running/progress.py"}
"""Files that say when something was, for other processes to read."""


def test_a_jumping_clock_changes_no_duration_and_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    undisturbed = read(run_trial(spec, tmp_path / "a", tmp_path / "results-a"))
    jumps = itertools.cycle((0.0, 86_400.0, -86_400.0))
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(jumps))
    console = Console(file=StringIO(), width=200)
    display = Display(1, console, {spec.id: 10.0})
    started = time.monotonic()
    path = run_trial(spec, tmp_path / "b", tmp_path / "results-b", lambda report: display.epoch(spec, vars(report)))
    display.done(spec, path)
    elapsed = time.monotonic() - started
    record = read(path)
    assert record.result == undisturbed.result
    assert 0 < record.measured.training_seconds <= elapsed
    assert 0 < record.measured.evaluation_seconds <= elapsed
    assert isinstance(console.file, StringIO)
    clocks = re.findall(r"^(\d+):(\d\d):(\d\d) ", console.file.getvalue(), re.MULTILINE)
    assert len(clocks) == 4
    assert all(3600 * int(hours) + 60 * int(minutes) + int(seconds) <= elapsed for hours, minutes, seconds in clocks)


def test_the_time_left_goes_by_a_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert Remaining({"a": 1.0}).clock is time.monotonic


def test_nothing_else_asks_the_wall_clock() -> None:
    """`time.time()` in a new place is a duration that jumps, or belongs into the list above."""
    folder = Path(mtlbench.__file__).parent
    asking = {
        str(path.relative_to(folder)) for path in folder.rglob("*.py") if re.search(r"\btime\.time\(", path.read_text())
    }
    assert asking <= WALL_CLOCK
