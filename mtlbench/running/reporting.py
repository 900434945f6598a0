"""What a trial leaves in its folder for whoever looks on: its progress, and scalars for TensorBoard."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mtlbench.measure.memory import PeakMemory
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Point
from mtlbench.running.event_log import EventLog
from mtlbench.running.progress import FILE, Progress, write_progress
from mtlbench.training.report import EpochReport


class Reporting:
    """Reports on one trial. A report that cannot be written never ends a training.

    Args:
        folder: the trial's own.
        epochs: planned, over all phases.
        memory: measures what the trial needs.
    """

    def __init__(self, spec: TrialSpec, folder: Path, epochs: int, memory: PeakMemory, device: str) -> None:
        self.folder, self.memory = folder, memory
        self.start = Progress(
            id=spec.id, dataset=spec.data.name, row=spec.row, seed=spec.seed, epoch=0, epochs=epochs, device=device
        )
        self.events_folder = folder / f"{spec.data.name}-{Path(spec.file_name()).stem.rpartition('-')[0]}"
        self._events: EventLog | None = None

    def begin(self) -> None:
        """The trial is put together; nothing is written over the progress of one that is taken up."""
        if not (self.folder / FILE).is_file():
            self._write(self.start)

    def epoch(self, report: EpochReport, point: Point) -> None:
        """An epoch was saved."""
        self._write(self.start.model_copy(update={**vars(report), "memory_bytes": self.memory.bytes()}))
        if self._events is None:
            self._events = EventLog(self.events_folder, first=report.epoch)
        with contextlib.suppress(OSError):
            self._events.write(point, report.epoch)

    def close(self) -> None:
        """Training is over, or was stopped."""
        if self._events is not None:
            self._events.close()

    def _write(self, progress: Progress) -> None:
        with contextlib.suppress(OSError):
            write_progress(self.folder, progress)
