"""Live progress of a sweep: bars in a terminal, plain lines elsewhere. Knows specifications and numbers only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.remaining import Remaining, time_span


class Display:
    """Shows epochs, losses and the time left.

    Args:
        total: trials in the sweep.
        console: where to; whether it is a terminal decides the form.
        planned: trial id → planned seconds, where they were estimated: then the time left of the whole sweep is shown.
    """

    def __init__(self, total: int, console: Console | None = None, planned: Mapping[str, float] | None = None) -> None:
        self.console = console or Console()
        self.total, self.finished = total, 0
        self.remaining = Remaining(planned or {})
        self._bars: dict[str, Any] = {}
        self._started = time.monotonic()
        self._progress: Progress | None = None
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def epoch(self, spec: TrialSpec, progress: dict[str, Any]) -> None:
        """One epoch of a trial is over; `progress` has the fields of `mtlbench.training.report.EpochReport`."""
        # Evaluation of the selected network follows the last epoch.
        self.remaining.progress(spec.id, 0.9 * progress["epoch"] / progress["epochs"])
        skill = progress["val_skill"]
        losses = " ".join(f"{task} {loss:.3g}" for task, loss in progress["train_loss"].items())
        note = f"{progress['phase']}  val skill {'–' if skill is None else f'{skill:.3f}'}"
        if self._progress is not None:
            if spec.id not in self._bars:
                self._bars[spec.id] = self._progress.add_task(spec.title, total=progress["epochs"], note="")
            self._progress.update(self._bars[spec.id], completed=progress["epoch"], note=note)
            return
        left = progress["seconds"] / progress["epoch"] * (progress["epochs"] - progress["epoch"])
        self.console.print(
            f"{self._clock()}  {spec.title}  epoch {progress['epoch']}/{progress['epochs']}  {note}  loss {losses}  "
            f"{time_span(left)} left",
            highlight=False,
            soft_wrap=True,
        )

    def note(self, spec: TrialSpec, text: str) -> None:
        """Something about a trial that goes on."""
        self.console.print(f"{self._clock()}  {spec.title}: {text}", highlight=False, markup=False, soft_wrap=True)

    def done(self, spec: TrialSpec, path: Path) -> None:
        """A trial's record was written."""
        self._end(spec, f"done ({path.name})")

    def failed(self, spec: TrialSpec, reason: str) -> None:
        """A trial ended without a record."""
        self._end(spec, f"failed: {reason}")

    def _end(self, spec: TrialSpec, text: str) -> None:
        self.finished += 1
        self.remaining.progress(spec.id, 1.0)
        left = self.remaining.seconds()
        if left is not None and self.finished < self.total:
            text += f"; about {time_span(left)} left in all"
        if self._progress is not None and spec.id in self._bars:
            self._progress.remove_task(self._bars.pop(spec.id))
        self.console.print(
            f"{self._clock()}  [{self.finished}/{self.total}] {spec.title}: {text}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
