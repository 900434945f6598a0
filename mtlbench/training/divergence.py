"""When training has diverged: going on would only cost time, and the last good epoch is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.records import Point

EXPLODED = 10_000.0
"""A mean loss so many times that of the task's first epoch has exploded: an untrained network guesses, and is no worse."""


def broken_tasks(curve: Sequence[Point]) -> dict[str, str]:
    """Task → what is wrong with its mean training loss in the last epoch of a curve, of those where something is."""
    first: dict[str, float] = {}
    for point in curve[:-1]:
        first = {**point.train_loss, **first}
    broken = {}
    for task, loss in curve[-1].train_loss.items() if curve else ():
        if not math.isfinite(loss):
            broken[task] = "was not finite"
        elif loss > EXPLODED * first.get(task, math.inf) > 0:
            broken[task] = f"was {loss:.3g}, and {first[task]:.3g} in its first epoch,"
    return broken


def divergence(parts: Sequence[Sequence[str]], curve: Sequence[Point]) -> str:
    """Why training should stop after the last epoch of a curve; empty where it should go on.

    It stops when every independent part of the network has a task whose mean loss is not finite or has exploded: as long as
    one part is well, it goes on for that one.

    Args:
        parts: the independent parts of the network, each its tasks' names.
        curve: the epochs so far.
    """
    broken = broken_tasks(curve)
    if not broken or not all(any(task in broken for task in part) for part in parts):
        return ""
    reasons: dict[str, list[str]] = {}
    for task, reason in broken.items():
        reasons.setdefault(reason, []).append(task)
    losses = "; ".join(f"the loss of {', '.join(tasks)} {reason}" for reason, tasks in reasons.items())
    return f"{losses} in epoch {curve[-1].epoch} ({curve[-1].phase})"
