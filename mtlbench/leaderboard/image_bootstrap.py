"""The noise of the test set: primary metrics of two networks under resampling of their common test images."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtlbench.records import Record, TaskInfo
from mtlbench.statistics.bootstrap import paired_bootstrap
from mtlbench.statistics.image_metrics import PRIMARY
from mtlbench.statistics.intervals import Interval

FEWEST_CLUSTERS = 10
"""With fewer scenes than that a bootstrap over them says little: it cannot draw what it has not seen."""


@dataclass(frozen=True)
class ImageNoise:
    """A bootstrap over images of one task: the difference (second − first), or why there is none."""

    task: str
    metric: str
    difference: Interval | None
    reason: str = ""

    @property
    def warning(self) -> str:
        """A sentence where the interval means little; else empty."""
        if self.difference is None or self.difference.n >= FEWEST_CLUSTERS:
            return ""
        return f"Only {self.difference.n} independent scenes: below {FEWEST_CLUSTERS} the interval means little."


def image_noise(first: Record, second: Record, draws: int = 1000) -> list[ImageNoise]:
    """Every task's primary metric, clustered by scene where scenes are known.

    Recomputed from the per-image statistics in the records. This is the noise of the test set for two networks as they
    are, not that of training them again. Images are paired by their position, so both records must be of the same
    prepared data.
    """
    prepared = [_fingerprint(record) for record in (first, second)]
    if not prepared[0] or prepared[0] != prepared[1]:
        reason = "the records are of differently prepared data (protocol: dataset.fingerprint)"
        return [ImageNoise(task.name, task.primary, None, reason) for task in first.tasks]
    return [_task_noise(first, second, task, draws) for task in first.tasks]


def _fingerprint(record: Record) -> str:
    """Of the prepared data; empty where the protocol card does not say."""
    dataset = record.protocol.get("dataset")
    return str(dataset.get("fingerprint") or "") if isinstance(dataset, Mapping) else ""


def _task_noise(first: Record, second: Record, task: TaskInfo, draws: int) -> ImageNoise:
    try:
        arrays = [_statistics(record, task.name) for record in (first, second)]
        _check(task, arrays, [record.result.test.metrics[task.name][task.primary] for record in (first, second)])
    except _CannotBeComputedError as error:
        return ImageNoise(task.name, task.primary, None, str(error))
    images = len(next(iter(arrays[0].values())))
    scenes = first.result.scenes if len(first.result.scenes) == images else []
    interval = paired_bootstrap(arrays[0], arrays[1], PRIMARY[task.kind], scenes, draws)
    return ImageNoise(task.name, task.primary, interval)


class _CannotBeComputedError(Exception):
    """Why there is no bootstrap."""


def _statistics(record: Record, task: str) -> dict[str, np.ndarray]:
    packed = record.result.images.get(task, {})
    if not packed:
        raise _CannotBeComputedError("a record has no per-image statistics")
    try:
        return {name: array.unpack() for name, array in packed.items()}
    except (TypeError, ValueError, zlib.error) as error:
        raise _CannotBeComputedError(f"per-image statistics cannot be unpacked ({error})") from None


def _check(task: TaskInfo, arrays: list[dict[str, np.ndarray]], recorded: list[float]) -> None:
    """Of both records: the same number of images, and statistics that give the metric that the record has."""
    if len({len(array) for statistics in arrays for array in statistics.values()}) > 1:
        raise _CannotBeComputedError("the records are of different test images")
    if task.kind not in PRIMARY:
        raise _CannotBeComputedError(f"no formula for tasks of kind {task.kind!r}")
    for statistics, expected in zip(arrays, recorded, strict=True):
        try:
            value = PRIMARY[task.kind]({name: array.sum(axis=0) for name, array in statistics.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise _CannotBeComputedError(f"cannot be recomputed ({error})") from None
        if not math.isclose(value, expected, rel_tol=1e-5, abs_tol=1e-8):
            raise _CannotBeComputedError(f"its statistics give {value:g}, the record says {expected:g}")
