"""One trial is run by one process at a time, also where several commands share a folder of checkpoints.

Whoever comes second waits, and takes the record that the first one left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import read
from mtlbench.running.progress import RECORD
from mtlbench.training.checkpoints import CheckpointStore


def trial_lock(work: Path, trial: str) -> FileLock:
    """The lock of a trial, held by whoever trains it; released when its process ends, however it ends.

    Raises:
        UserError: the folder of checkpoints cannot be written to.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {work} cannot be used ({error.strerror}). Name another one with --runs.") from None
    return FileLock(work / f"{trial}.lock")


@contextmanager
def exclusive(work: Path, trial: str) -> Iterator[None]:
    """Hold a trial's lock; waits for it."""
    lock = trial_lock(work, trial)
    with lock:
        yield


def finished_record(spec: TrialSpec, work: Path, keep: bool) -> str | None:
    """The record that a trial left in its folder, as text; None where it has to be run.

    Args:
        keep: the weights of every selectable epoch are wanted, too.
    """
    path = work / spec.id / RECORD
    if not path.is_file() or (keep and not CheckpointStore(work / spec.id).kept_epochs()):
        return None
    try:
        record = read(path)
    except UserError:
        return None
    return path.read_text(encoding="utf-8") if record.id == spec.id else None
