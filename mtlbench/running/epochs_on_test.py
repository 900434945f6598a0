"""Evaluates every kept epoch of a finished trial on test: what selection on test would have claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtlbench.errors import UserError
from mtlbench.measure.deployed import deployed
from mtlbench.networks.placement import on_device
from mtlbench.records import Evaluation, Record
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.running.trained import load_weights, read_spec
from mtlbench.running.trial import Trial
from mtlbench.training.checkpoints import CheckpointStore


def evaluate_epochs_on_test(record: Record, work: Path, watch: Callable[[int, int], None] | None = None) -> EpochsOnTest:
    """Evaluate every kept epoch of a finished trial on test.

    Args:
        work: the folder of trials' checkpoints.
        watch: called with the number of epochs done and in all.

    Raises:
        UserError: the epochs of this trial were not kept, or not all of them.
    """
    folder = work / record.id
    epochs = CheckpointStore(folder).kept_epochs()
    wanted = {point.epoch for point in record.result.curve if point.selectable and point.val is not None}
    if not wanted <= set(epochs) or not (folder / "spec.json").is_file():
        raise UserError(
            f"{record.row} on {record.dataset}, seed {record.seed}: {folder} has {len(wanted & set(epochs))} of its "
            f"{len(wanted)} selectable epochs. Train it again with --keep-checkpoints into an empty results folder, or with "
            "`mtlbench train --force`."
        )
    trial = Trial(read_spec(folder), work)
    evaluations: dict[int, Evaluation] = {}
    for number, epoch in enumerate(sorted(wanted), start=1):
        load_weights(trial.network, epochs[epoch])
        on_device(trial.network, trial.device)
        trial.recompute_statistics()
        evaluations[epoch] = trial.evaluator.evaluate(deployed(trial.network), trial.data.splits["test"])
        if watch is not None:
            watch(number, len(wanted))
    return EpochsOnTest(record=record.id, test=evaluations)
