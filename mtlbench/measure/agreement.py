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
    Measurement, 1960). None for fewer than two structures, or where nothing can differ: all shared, or nothing.
    """
    flat = [
        [row[i] is not None and row[i] == row[j] for row in one for i, j in combinations(range(len(row)), 2)]
        for one in structures
    ]
    if len(flat) < 2 or not flat[0] or len({len(one) for one in flat}) > 1:
        return None
    observed, expected = [], []
    for first, second in combinations(flat, 2):
        p, q = sum(first) / len(first), sum(second) / len(second)
        observed.append(sum(a == b for a, b in zip(first, second, strict=True)) / len(first))
        expected.append(p * q + (1 - p) * (1 - q))
    chance = sum(expected) / len(expected)
    return None if chance == 1 else (sum(observed) / len(observed) - chance) / (1 - chance)
