"""What a sample must satisfy before it is stored: shapes, data types, value ranges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.dataset import BadSample, Sample
from mtlbench.tasks import Attributes, Classification, Depth, Normals, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.binary import BinaryMap

Target = NDArray[Any]

UNIT_NORM_TOLERANCE = 0.02
"""Distance of a stored normal's length from 1: what 8-bit encodings leave after renormalising in float32, with room."""


def validate_sample(sample: Sample, tasks: Sequence[Task], image_size: tuple[int, int]) -> None:
    """Compare a sample with what its dataset declares.

    Raises:
        BadSample: what is wrong with it; the caller names the sample.
    """
    height, width = image_size
    if "image" not in sample:
        raise BadSample("has no image")
    _check_array("image", sample["image"], (height, width, 3), "uint8")
    stored = {task.name: task for task in tasks if not task.from_image}
    for name, target in sample.items():
        if name == "image":
            continue
        if name not in stored:
            raise BadSample(f"holds a target {name!r}, which is none of the stored tasks {', '.join(stored)}")
        task = stored[name]
        _check_array(name, target, task.target_shape(height, width), task.dtype)
        problem = range_problem(task, target)
        if problem:
            raise BadSample(f"{name}: {problem}")


def _check_array(name: str, value: object, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(value, np.ndarray):
        raise BadSample(f"{name} is a {type(value).__name__}, expected a NumPy array")
    if value.shape != shape or value.dtype != np.dtype(dtype):
        raise BadSample(f"{name} is {value.dtype} {list(value.shape)}, expected {dtype} {list(shape)}")


def unlabelled_target(task: Task, height: int, width: int) -> NDArray[np.generic]:
    """The target of a sample without a label of the task: the task's invalid value everywhere."""
    return np.full(task.target_shape(height, width), task.invalid, task.dtype)


@singledispatch
def range_problem(task: Task, target: Target) -> str | None:
    """What is wrong with a target's values, None when nothing is. A plugin's own kind of task may register a rule."""
    allowed = np.isfinite(target)
    if np.isnan(task.invalid):  # NaN marks what has no label
        allowed |= np.isnan(target)
    return None if allowed.all() else "holds NaN or infinite values"


@range_problem.register
def _(task: Segmentation, target: Target) -> str | None:
    return _unknown_labels(target, task.channels, task.invalid)


@range_problem.register
def _(task: Classification, target: Target) -> str | None:
    return _unknown_labels(target, task.channels, task.invalid)


@range_problem.register
def _(task: BinaryMap, target: Target) -> str | None:
    return _unknown_labels(target, 2, task.invalid)


@range_problem.register
def _(task: Attributes, target: Target) -> str | None:
    return _unknown_labels(target, 2, task.invalid)


@range_problem.register
def _(task: Depth, target: Target) -> str | None:
    if not np.isfinite(target).all():
        return "holds NaN or infinite values"
    lowest = target.min()
    return f"holds negative values (down to {lowest:g}); {task.invalid:g} marks invalid pixels" if lowest < 0 else None


@range_problem.register
def _(task: Normals, target: Target) -> str | None:
    if not np.isfinite(target).all():
        return "holds NaN or infinite values"
    length = np.linalg.norm(target, axis=0)
    wrong = (length != 0) & (np.abs(length - 1) > UNIT_NORM_TOLERANCE)
    if not wrong.any():
        return None
    return f"{int(wrong.sum())} vectors have length {length[wrong].min():.3g} to {length[wrong].max():.3g}, expected 1 or 0"


def _unknown_labels(target: Target, count: int, invalid: float) -> str | None:
    wrong = ((target < 0) | (target >= count)) & (target != invalid)
    if not wrong.any():
        return None
    values = ", ".join(str(value) for value in np.unique(target[wrong])[:5])
    return f"holds labels out of range: {values} (expected 0 to {count - 1}, or {invalid:g} where there is none)"
