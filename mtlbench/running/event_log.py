"""Scalars of a training for TensorBoard: `tensorboard --logdir runs` shows losses, metrics and skills of all trials.

The files are written by tensorboardX, which ray[tune] brings along; where it is missing nothing is written. To look at them,
`tensorboard` must be installed (the extra `tensorboard`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtlbench.records import Point


class EventLog:
    """One trial's event files.

    Args:
        folder: its own; TensorBoard shows the trial by the folder's path.
        first: the first epoch that will be written (from 1): what a former process wrote from there on is not shown.
    """

    def __init__(self, folder: Path, first: int = 1) -> None:
        self.folder, self.first = folder, first
        self._writer: Any = None

    def write(self, point: Point, epoch: int) -> None:
        """Write an epoch under its number, from 1. Values that are not finite are left out."""
        writer = self._open()
        if writer is None:
            return
        for tag, value in scalars(point):
            if math.isfinite(value):
                writer.add_scalar(tag, value, epoch)
        writer.flush()

    def close(self) -> None:
        """Close the file; further epochs begin another one."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                return None
            self._writer = SummaryWriter(str(self.folder), purge_step=self.first)
        return self._writer


def scalars(point: Point) -> Iterator[tuple[str, float]]:
    """(name, value) of everything an epoch of the learning curve holds."""
    for task, loss in point.train_loss.items():
        yield f"train_loss/{task}", loss
    yield "training/lr", point.lr
    yield "training/images", float(point.images)
    if point.val is None:
        return
    yield "val_skill/mean", point.val.mean_skill
    for task, skill in point.val.skill.items():
        yield f"val_skill/{task}", skill
    for task, metrics in point.val.metrics.items():
        for name, value in metrics.items():
            yield f"val_{task}/{name}", value
