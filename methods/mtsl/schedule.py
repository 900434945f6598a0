"""When MTSL learns tasks and when structure: how the budget is divided, and where the learning rate stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtlbench.contract import Budget, UserError

PUBLISHED_EPOCHS = 80
PUBLISHED_ENDS = (2, 4, 6, 8, 12, 16, 24, 32, 40, 48)
"""Epochs of task learning after which the ten structural phases lie."""

PUBLISHED_AMALGAMATION = (1, 1, 2, 2, 2, 2, 4, 4, 8, 8)
"""Epochs of amalgamation, on top; the i-th number is of the i-th phase that merges something."""

Stretch = tuple[float, float]
"""Where the learning-rate schedule starts and ends."""


@dataclass(frozen=True)
class Schedule:
    """The plan of a training.

    Attributes:
        separate, final: epochs of task learning before the first structural phase, and of the final structure.
        learning: epochs of task learning that follow each structural phase's amalgamation.
        amalgamation: passes over train for the i-th phase that merges something ("paper"), or for each phase (else, where
            they are fractions of an epoch and a phase that merges nothing learns tasks instead).
        stretches: of the learning-rate schedule: separate, each structural phase, final.
    """

    separate: int
    learning: list[float]
    amalgamation: list[float]
    final: int
    stretches: list[Stretch]


def schedule(budget: Budget, units: int, first: float, last: float, amalgamation: float) -> Schedule:
    """One structural phase per unit.

    Args:
        first, last: shares of the budget after which the first phase starts and the final structure is reached.
        amalgamation: share of each structural phase that amalgamation takes; the rest is task learning.

    Under "equal_total" all of it shares the budget's epochs; under "equal_final" the final structure has them all, at a
    full learning-rate schedule of its own, and what comes before is on top, in the same proportion and at the highest
    rate; "paper" is the published time line, stretched to the budget's epochs and to the number of units.

    Raises:
        UserError: too few epochs, or nothing left for the final structure.
    """
    if not first < last < 1:
        raise UserError(f"mtsl: first = {first:g}, last = {last:g}: expected 0 < first < last < 1.")
    if budget.epochs < units + 2:
        raise UserError(f"mtsl: {units} units take {units + 2} epochs or more, and there are {budget.epochs}.")
    if budget.mode == "paper":
        return published(budget.epochs, units)
    shares = [first, *[(last - first) / units] * units, 1 - last]
    if budget.mode == "equal_total":
        separate, *phases, final = budget.split(*shares)
    else:
        separate, *phases = (max(1, round(share / (1 - last) * budget.epochs)) for share in shares[:-1])
        final = budget.epochs
    passes = [amalgamation * epochs for epochs in phases]
    learning = [epochs - spent for epochs, spent in zip(phases, passes, strict=True)]
    if budget.mode == "equal_total":
        stretches = _stretches([separate, *learning, final])
    else:
        stretches = [(0.0, 0.0)] * (units + 1) + [(0.0, 1.0)]
    return Schedule(separate, learning, passes, final, stretches)


def published(epochs: int, units: int) -> Schedule:
    """The published time line: amalgamation is on top and moves neither the epochs nor the learning rate."""
    places = np.linspace(0, len(PUBLISHED_ENDS) - 1, units)
    known = range(len(PUBLISHED_ENDS))
    scale = epochs / PUBLISHED_EPOCHS
    ends: list[int] = []
    for end in np.interp(places, known, PUBLISHED_ENDS) * scale:
        ends.append(max(round(float(end)), ends[-1] + 1 if ends else 1))
    passes = [float(max(1, round(length))) for length in np.interp(places, known, PUBLISHED_AMALGAMATION) * scale]
    learning = [float(after - before) for before, after in pairwise(ends)] + [0.0]
    final = epochs - ends[-1]
    return Schedule(ends[0], learning, passes, final, _stretches([ends[0], *learning, final]))


def _stretches(learning: Sequence[float]) -> list[Stretch]:
    """Each part of the task learning on the way from 0 to 1."""
    edges = np.cumsum([0.0, *learning]) / sum(learning)
    return [(float(start), float(stop)) for start, stop in pairwise(edges)]
