"""How far a trial is: written into its folder after every epoch, and read from another terminal without torch."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from mtlbench.errors import UserError
from mtlbench.records import write_text

FILE = "progress.json"

RECORD = "record.json"
"""The record beside a finished trial's network: a copy of what was handed over."""

ERROR = "error.txt"
"""The traceback of a trial that crashed."""

State = Literal["training", "evaluating", "finished", "failed", "stopped"]


class Progress(BaseModel):
    """What the file holds.

    Attributes:
        epoch, epochs: how many are over, and how many are planned, over all phases.
        val_skill: of the last epoch that was validated; None before.
        seconds: spent on training so far.
        memory_bytes: the peak so far: of the GPU, or of the process on a CPU.
        device: "cuda" or "cpu".
        host, pid: the process that trains.
        updated: when the file was written, in seconds since 1970.
    """

    id: str
    dataset: str
    row: str
    seed: int
    epoch: int
    epochs: int
    phase: str = ""
    train_loss: dict[str, float] = {}
    val_skill: float | None = None
    seconds: float = 0.0
    memory_bytes: int = 0
    device: str = "cpu"
    host: str = ""
    pid: int = 0
    updated: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of training, if every further epoch takes what the past ones took on average; None before the first is over."""
        return self.seconds / self.epoch * (self.epochs - self.epoch) if self.epoch else None


@dataclass(frozen=True)
class TrialStatus:
    """A trial as it is now.

    Attributes:
        reason: the last line of the traceback of a trial that failed, else empty.
    """

    progress: Progress
    state: State
    reason: str = ""


def write_progress(folder: Path, progress: Progress) -> None:
    """Put a trial's progress into its folder, with this process and the time."""
    here: Mapping[str, object] = {"host": socket.gethostname(), "pid": os.getpid(), "updated": time.time()}
    write_text(folder / FILE, progress.model_copy(update=here).model_dump_json())


def statuses(runs: Path) -> list[TrialStatus]:
    """All trials of a folder of runs that have begun, those that changed last first.

    Raises:
        UserError: no such folder.
    """
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder of runs. Name the folder that `mtlbench bench` was given as --runs.")
    found = [status for file in runs.glob(f"*/{FILE}") if (status := _status(file)) is not None]
    return sorted(found, key=lambda status: (-status.progress.updated, status.progress.id))


def _status(file: Path) -> TrialStatus | None:
    """None where the file is no progress: somebody is writing it, or it is of another version."""
    try:
        progress = Progress.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    folder = file.parent
    if (folder / RECORD).is_file():
        return TrialStatus(progress, "finished")
    if is_locked(folder.with_name(f"{folder.name}.lock")):
        return TrialStatus(progress, "evaluating" if progress.epoch >= progress.epochs else "training")
    error = folder / ERROR
    if error.is_file() and error.stat().st_mtime >= progress.updated:
        lines = error.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return TrialStatus(progress, "failed", lines[-1] if lines else "")
    return TrialStatus(progress, "stopped")


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock. A process that was killed holds none."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
