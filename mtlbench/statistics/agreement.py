"""How alike the sharing plans are that several seeds of a method arrived at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

Table = Sequence[Sequence[int | None]]
"""A sharing plan's table: depth × task → variant, None for a skip."""


def agreement(tables: Sequence[Table]) -> float | None:
    """1 for equal plans, about 0 for what chance gives, less where they disagree more than that.

    For every unit and pair of tasks two plans agree if both share the unit or neither does; a unit that a task skips
    is not shared. The mean over pairs of plans is corrected for chance as Cohen's κ is (Educational and Psychological
    Measurement, 1960), unit by unit: early units are shared more than late ones in any tree, which is no agreement. Chance
    would share as many pairs of tasks at each unit, others than these. None for fewer than two plans, or where nothing
    could differ at any unit.
    """
    if len(tables) < 2 or len({tuple(map(len, table)) for table in tables}) > 1:
        return None
    observed = expected = 0.0
    pairs = np.triu_indices(len(tables), 1)
    for units in zip(*tables, strict=True):
        shared = np.array(
            [[row[i] is not None and row[i] == row[j] for i, j in combinations(range(len(row)), 2)] for row in units]
        )
        if shared.shape[1]:
            p = shared.mean(1)
            chance = (np.outer(p, p) + np.outer(1 - p, 1 - p))[pairs]
            # Of two rows of ±1 the dot product counts what is equal less what is not.
            signs = 2.0 * shared - 1
            agreed = (1 + signs @ signs.T / shared.shape[1])[pairs] / 2
            observed += float((agreed - chance)[chance < 1].sum())
            expected += float((1 - chance)[chance < 1].sum())
    return observed / expected if expected else None
