"""How alike the sharing structures are that several seeds of a method found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

Structure = Sequence[Sequence[int | None]]
"""A sharing plan's table: depth × task → variant, None for a skip."""


def agreement(structures: Sequence[Structure]) -> float | None:
    """1 for equal structures, about 0 for what chance gives, less where they disagree more than that.

    For every unit and pair of tasks two structures agree if both share the unit or neither does; a unit that a task skips
    is not shared. The mean over pairs of structures is corrected for chance as Cohen's κ is (Educational and Psychological
    Measurement, 1960), unit by unit: early units are shared more than late ones in any tree, which is no agreement. Chance
    would share as many pairs of tasks at each unit, others than these. None for fewer than two structures, or where nothing
    could differ at any unit.
    """
    shared = [
        [[row[i] is not None and row[i] == row[j] for i, j in combinations(range(len(row)), 2)] for row in one]
        for one in structures
    ]
    if len(shared) < 2 or len({tuple(map(len, one)) for one in shared}) > 1:
        return None
    observed = expected = 0.0
    for first, second in combinations(shared, 2):
        for one, other in zip(first, second, strict=True):
            if one:
                p, q = sum(one) / len(one), sum(other) / len(other)
                chance = p * q + (1 - p) * (1 - q)
                if chance < 1:
                    observed += sum(a == b for a, b in zip(one, other, strict=True)) / len(one) - chance
                    expected += 1 - chance
    return observed / expected if expected else None
