"""A trial from its specification to its record, in this process: locked, taken up, tried again where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import add
from mtlbench.running.disk_faults import disk_problem
from mtlbench.running.exclusive import exclusive, finished_record
from mtlbench.running.memory_retry import pieces_after, refused_retry, retry_note
from mtlbench.running.trial import Trial
from mtlbench.training.checkpoints import CheckpointStore
from mtlbench.training.report import EpochReport


def run_trial(
    spec: TrialSpec,
    work: Path,
    results: Path,
    watch: Callable[[EpochReport], None] | None = None,
    keep: bool = False,
    force: bool = False,
    device: torch.device | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Run a trial to its record in this process. Where memory runs out it is tried once more with more pieces per batch.

    Args:
        watch: called after every epoch.
        keep: keep the weights of every epoch that could be selected.
        force: replace a record with another result.
        device: where to compute; None: a GPU if there is one.
        note: called with what else there is to say: a lost checkpoint, an early end, a second attempt.

    Raises:
        UserError: another result of this trial is there; memory ran out twice; the disk is full or cannot be written.
    """
    with exclusive(work, spec.id):
        finished = finished_record(spec, work, keep)
        if finished is not None:
            path = results / spec.data.name / spec.file_name()
            add(path, finished, force)
            return path
        tell = note or (lambda text: None)

        def attempt(trial: Trial) -> Path:
            for report in trial.epochs():
                if watch is not None:
                    watch(report)
                if text := trial.take_note():
                    tell(text)
            if text := trial.take_note():
                tell(text)
            path = trial.finish(results, force)
            trial.clear()
            return path

        try:
            return _tried_twice(spec, lambda pieces: Trial(spec, work, device, keep, pieces), attempt, tell)
        except OSError as error:
            if line := disk_problem(error):
                raise UserError(f"{spec.title}: {line}") from error
            raise


def _tried_twice(
    spec: TrialSpec,
    make: Callable[[int | None], Trial],
    attempt: Callable[[Trial], Path],
    tell: Callable[[str], None],
) -> Path:
    """Attempt a trial, and where memory runs out attempt it once more with more pieces per batch."""
    try:
        return attempt(make(None))
    except Exception as error:
        pieces = pieces_after(error, spec, None)
        if pieces is None:
            raise
    # Outside of the handler: the error holds what the first attempt has allocated.
    tell(retry_note(pieces))
    try:
        trial = make(pieces)
    except UserError as error:
        raise refused_retry(error, spec) from None
    try:
        return attempt(trial)
    except Exception as error:
        pieces_after(error, spec, pieces)
        raise


def forget(spec: TrialSpec, work: Path) -> None:
    """Remove a trial's working folder."""
    CheckpointStore(work / spec.id).remove()
