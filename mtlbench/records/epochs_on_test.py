"""Every epoch that could have been selected, evaluated on test: the size of test-set selection bias. Never ranked.

Papers often report the epoch that is best on test. What that would have claimed here is known only afterwards, from the
epochs that a finished trial kept; it lies in a file of its own beside the record, which stays as it is.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import ValidationError

from mtlbench.errors import UserError
from mtlbench.records.atomic import write_text
from mtlbench.records.evaluation import Evaluation
from mtlbench.records.files import first_problem
from mtlbench.records.model import RecordModel
from mtlbench.records.record import Record

SUFFIX = ".epochs-on-test.json"

FORMER_SUFFIX = ".hindsight.json"
"""What mtlbench 0.1 called these files; the content is the same."""

TOLERANCE = 1e-4
"""Relative: BatchNorm's statistics are recomputed, and not to the bit on every device."""


class EpochsOnTest(RecordModel):
    """Every selectable epoch of one trial on test.

    Attributes:
        record: id of the trial's record.
        test: epoch → the deployed network on test, BatchNorm's statistics recomputed as for the selected one.
    """

    record: str
    test: dict[int, Evaluation]

    def fits(self, record: Record) -> bool:
        """Whether the selected epochs gave the record's own test metrics: a trial that was trained again gives others."""
        for part, epoch in record.result.selected.items():
            for task in part.split("+"):
                recorded = record.result.test.metrics.get(task, {})
                evaluated = self.test[epoch].metrics.get(task, {}) if epoch in self.test else {}
                if not recorded or not all(_close(value, evaluated.get(name)) for name, value in recorded.items()):
                    return False
        return True


def _close(a: float, b: float | None) -> bool:
    if b is None or math.isnan(a) or math.isnan(b):
        return b is not None and math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)


def path_of(record: Path) -> Path:
    """Where the file of a record is written."""
    return record.with_suffix(SUFFIX)


def existing(record: Path) -> Path | None:
    """The file that lies beside a record, under its former name if it was written then; None where there is none."""
    candidates = (path_of(record), record.with_suffix(FORMER_SUFFIX))
    return next((path for path in candidates if path.is_file()), None)


def is_beside_record(path: Path) -> bool:
    """Whether a file is one of this kind, by its name, and so no record."""
    return path.name.endswith((SUFFIX, FORMER_SUFFIX))


def write(path: Path, epochs: EpochsOnTest) -> None:
    """Write it beside its record, in place of one with the former name."""
    write_text(path, json.dumps(epochs.model_dump(mode="json"), sort_keys=True, indent=1) + "\n")
    path.with_name(path.name.removesuffix(SUFFIX) + FORMER_SUFFIX).unlink(missing_ok=True)


def read(path: Path) -> EpochsOnTest:
    """Read it.

    Raises:
        UserError: not a file of this kind.
    """
    try:
        return EpochsOnTest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise UserError(f"{path}: not readable ({reason}). Remove it, and run `mtlbench selection-bias` again.") from None
