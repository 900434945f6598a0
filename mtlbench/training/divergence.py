"""When training has diverged: going on would only cost time, and the last good epoch is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.records import Point


def broken_tasks(point: Point) -> list[str]:
    """The tasks whose mean training loss was not finite in an epoch."""
    return [task for task, loss in point.train_loss.items() if not math.isfinite(loss)]


def divergence(parts: Sequence[Sequence[str]], point: Point) -> str:
    """Why training should stop after an epoch; empty where it should go on.

    It stops when every independent part of the network has a task whose mean loss is not finite: as long as one part is
    well, it goes on for that one.

    Args:
        parts: the independent parts of the network, each its tasks' names.
        point: the epoch.
    """
    broken = broken_tasks(point)
    if not broken or not all(any(task in broken for task in part) for part in parts):
        return ""
    return f"the loss of {', '.join(broken)} was not finite in epoch {point.epoch} ({point.phase})"
