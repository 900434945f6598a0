"""Looking back: every epoch that could have been selected, on test. What it finds is never ranked.

Papers often report the epoch that is best on test. What that would have claimed here is known only afterwards, from the
epochs that a finished trial kept; it lies in a file of its own beside the record, which stays as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.errors import UserError
from mtlbench.record import Evaluation, Record, write_text

SUFFIX = ".hindsight.json"

TOLERANCE = 1e-4
"""Relative: BatchNorm's statistics are recomputed, and not to the bit on every device."""


class Hindsight(BaseModel):
    """Every selectable epoch of one trial on test.

    Attributes:
        record: id of the trial's record.
        test: epoch → the deployed network on test, BatchNorm's statistics recomputed as for the selected one.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    record: str
    test: dict[int, Evaluation]

    def fits(self, record: Record) -> bool:
        """Whether the selected epochs gave the record's own test metrics: a trial that was trained again gives others."""
        for part, epoch in record.result.selected.items():
            for task in part.split("+"):
                own = record.result.test.metrics.get(task, {})
                seen = self.test[epoch].metrics.get(task, {}) if epoch in self.test else {}
                if not own or not all(_close(value, seen.get(name)) for name, value in own.items()):
                    return False
        return True


def _close(a: float, b: float | None) -> bool:
    if b is None or math.isnan(a) or math.isnan(b):
        return b is not None and math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)


def path_of(record: Path) -> Path:
    """The file beside a record."""
    return record.with_suffix(SUFFIX)


def look_back(record: Record, work: Path, watch: Callable[[int, int], None] | None = None) -> Hindsight:
    """Evaluate every kept epoch of a finished trial on test.

    Args:
        work: the folder of trials' checkpoints.
        watch: called with the number of epochs done and in all.

    Raises:
        UserError: the epochs of this trial were not kept, or not all of them.
    """
    # Leaderboards read these files, and must not load torch.
    import torch

    from mtlbench.selection import kept_epochs
    from mtlbench.spec import TrialSpec
    from mtlbench.trial import Trial

    folder = work / record.id
    epochs = kept_epochs(folder)
    wanted = {point.epoch for point in record.result.curve if point.selectable and point.val is not None}
    if not wanted <= set(epochs) or not (folder / "spec.json").is_file():
        raise UserError(
            f"{record.row} on {record.dataset}, seed {record.seed}: {folder} has {len(wanted & set(epochs))} of its "
            f"{len(wanted)} selectable epochs. Train it again with --keep-checkpoints into an empty results folder, or with "
            "`mtlbench train --force`."
        )
    trial = Trial(TrialSpec.model_validate_json((folder / "spec.json").read_text(encoding="utf-8")), work)
    found = {}
    for number, epoch in enumerate(sorted(wanted), start=1):
        # Written by this program on this machine: plain values beside tensors.
        state = torch.load(epochs[epoch], map_location=trial.device, weights_only=False)
        trial.network.restore_structure(state["structure"])
        trial.network.to(trial.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        trial.network.load_state_dict(state["network"])
        trial.recompute_statistics()
        found[epoch] = trial.evaluate("test")
        if watch is not None:
            watch(number, len(wanted))
    return Hindsight(record=record.id, test=found)


def write(path: Path, hindsight: Hindsight) -> None:
    """Write it beside its record."""
    write_text(path, json.dumps(hindsight.model_dump(mode="json"), sort_keys=True, indent=1) + "\n")


def read(path: Path) -> Hindsight:
    """Read it.

    Raises:
        UserError: not a file of this kind.
    """
    try:
        return Hindsight.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not readable ({reason}). Remove it, and run `mtlbench inflation` again.") from None
