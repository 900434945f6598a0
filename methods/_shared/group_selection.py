"""Which networks to train for which tasks: the exact choice by scores of groups of tasks.

Standley et al. (ICML 2020, arXiv:1905.07553) and Fifty et al. (NeurIPS 2021, arXiv:2109.04617) choose at most so many groups
that the sum over tasks of the best score that a chosen group gives the task is largest. Groups may overlap: a task may be
trained in a network only to help the tasks that this network serves.

In the best choice every network serves some tasks, and these sets are a partition of all tasks. So the best group is found
for every set of tasks to be served, and then the best partition, by dynamic programming: 3^T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .partitions import Group

Matrix = NDArray[np.float64]
"""[T, T]: how good task t (row) is beside task u (column)."""


class Network(NamedTuple):
    """One network to be trained.

    Attributes:
        members: the tasks that it is trained on.
        serves: those among them that it predicts in the end.
    """

    members: Group
    serves: Group


def mean_of_pairs(matrix: Matrix, alone: Callable[[int], float]) -> Callable[[Group], list[float]]:
    """A group's score for each of its tasks: the mean over its other tasks of the pair's (both papers' approximation).

    Args:
        alone: the score of a task in a network of its own.
    """

    def scores(group: Group) -> list[float]:
        if len(group) == 1:
            return [alone(group[0])]
        return [float(sum(matrix[task, other] for other in group if other != task)) / (len(group) - 1) for task in group]

    return scores


def best_networks(scores: Callable[[Group], Sequence[float]], tasks: int, networks: int) -> list[Network]:
    """The best choice of at most `networks` networks; of equal choices the one with fewer networks and fewer members.

    Args:
        scores: of a group for each of its tasks, in their order; more is better.
        tasks: T.
        networks: at least 1.

    Returns:
        networks in the order of the first tasks that they serve.
    """
    value: dict[int, float] = {}
    group_of: dict[int, Group] = {}
    for size in range(1, tasks + 1):
        for group in combinations(range(tasks), size):
            by_bit = {1 << task: score for task, score in zip(group, scores(group), strict=True)}
            for served in subsets(sum(by_bit)):
                score = sum(own for bit, own in by_bit.items() if served & bit)
                if served not in value or score > value[served]:
                    value[served], group_of[served] = score, group
    everything = (1 << tasks) - 1
    # best[served] = (score, sets that networks serve), with at most as many networks as rounds so far
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for _ in range(networks):
        extended = dict(best)
        for served in range(1, everything + 1):
            lowest = served & -served
            for own in subsets(served):
                if own & lowest and (rest := served ^ own) in best:
                    score = value[own] + best[rest][0]
                    if served not in extended or score > extended[served][0]:
                        extended[served] = (score, (own, *best[rest][1]))
        best = extended
    sets = sorted(best[everything][1], key=lambda served: served & -served)
    return [Network(group_of[served], tuple(t for t in range(tasks) if served >> t & 1)) for served in sets]


def subsets(bits: int) -> list[int]:
    """All non-empty subsets of a set of bits."""
    found, subset = [], bits
    while subset:
        found.append(subset)
        subset = (subset - 1) & bits
    return found
