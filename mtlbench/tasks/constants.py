"""Fitting reference constants on training targets: one pass over chunks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UserError
from mtlbench.tasks.base import Task

_DROPPED_BITS = 9
"""Mantissa bits of a float32 that the median's histogram leaves out: 2^22 bins, each 2^-14 of its value wide."""


def require_targets(task: Task, any_valid: bool) -> None:
    """Refuse to fit a constant on nothing.

    Raises:
        UserError: no training sample has a valid target for the task.
    """
    if not any_valid:
        raise UserError(
            f"task {task.name!r}: no training target is valid, so its reference constant cannot be fitted. Expected at "
            f"least one element other than {task.invalid}; check what the dataset's `load` returns for this task."
        )


def count_values(chunks: Iterable[NDArray[np.integer]], size: int) -> NDArray[np.int64]:
    """How often each of 0 … size - 1 occurs; values outside are left out."""
    counts = np.zeros(size, np.int64)
    for chunk in chunks:
        values = chunk.ravel()
        values = values[(values >= 0) & (values < size)]
        counts += np.bincount(values, minlength=size)
    return counts


def positive_median(chunks: Iterable[NDArray[np.float32]]) -> float:
    """Median of the finite values > 0, to 3e-5 of its size; NaN when there are none.

    The bit patterns of positive floats are ordered as the floats are, so a histogram over their leading bits resolves
    every magnitude alike and needs no range in advance.
    """
    counts = np.zeros(1 << (31 - _DROPPED_BITS), np.int64)
    for chunk in chunks:
        values = np.asarray(chunk, np.float32).ravel()
        values = values[np.isfinite(values) & (values > 0)]
        occurrences = np.bincount(values.view(np.int32) >> _DROPPED_BITS)
        counts[: len(occurrences)] += occurrences
    total = int(counts.sum())
    if not total:
        return float("nan")
    # The two middle values (the same one where the count is odd), each at the middle of its bin.
    bins = np.searchsorted(counts.cumsum(), [(total - 1) // 2, total // 2], side="right")
    centres = (bins << _DROPPED_BITS) + (1 << (_DROPPED_BITS - 1))
    return float(centres.astype(np.int32).view(np.float32).mean(dtype=np.float64))
