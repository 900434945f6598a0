"""Every epoch that could have been selected, evaluated on test: the size of test-set selection bias. Never ranked.

Papers often report the epoch that is best on test. What that would have claimed here is known only afterwards, from the
epochs that a finished trial kept; it lies in a file of its own beside the record, which stays as it is.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.errors import UserError
from mtlbench.records.files import write_text
from mtlbench.records.record import Evaluation, Record

SUFFIX = ".epochs-on-test.json"

TOLERANCE = 1e-4
"""Relative: BatchNorm's statistics are recomputed, and not to the bit on every device."""


class EpochsOnTest(BaseModel):
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


def write(path: Path, epochs: EpochsOnTest) -> None:
    """Write it beside its record."""
    write_text(path, json.dumps(epochs.model_dump(mode="json"), sort_keys=True, indent=1) + "\n")


def read(path: Path) -> EpochsOnTest:
    """Read it.

    Raises:
        UserError: not a file of this kind.
    """
    try:
        return EpochsOnTest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not readable ({reason}). Remove it, and run `mtlbench inflation` again.") from None
