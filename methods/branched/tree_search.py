"""The best tree of tasks under a budget: dynamic programming from the last location of a network to the first.

A tree is a partition of the tasks at every location, each a refinement of the one before. Its score is the sum over
locations of how unlike the tasks of a group are; its cost the sum over locations of the number of groups times what a unit
costs there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._shared.partitions import Partition, partitions

EXHAUSTIVE = 6
"""Groups of which all partitions are tried; of more, those that joining the most alike ones in turn gives."""


class Tree(NamedTuple):
    """A tree, or the deeper part of one.

    Attributes:
        score: how unlike grouped tasks are, 0 where nothing is shared; less is better.
        cost: of its units.
        levels: the partition at every location, from the first.
    """

    score: float
    cost: float
    levels: tuple[Partition, ...]


def unlikeness(partition: Partition, dissimilarity: NDArray[np.float64]) -> float:
    """Mean over groups of the largest dissimilarity [T, T] within; 0 for a group of one."""
    worst = [max((dissimilarity[i, j] for i, j in combinations(group, 2)), default=0.0) for group in partition]
    return float(sum(worst) / len(worst))


def coarser(partition: Partition, dissimilarity: NDArray[np.float64]) -> Iterator[Partition]:
    """Partitions whose groups are unions of the given one's, itself and the single group among them."""
    if len(partition) <= EXHAUSTIVE:
        for parts in partitions(range(len(partition))):
            yield tuple(sorted(tuple(sorted(i for number in part for i in partition[number])) for part in parts))
        return
    yield partition
    while len(partition) > 1:
        pairs = combinations(partition, 2)
        joined = min(pairs, key=lambda pair: (unlikeness((pair[0] + pair[1],), dissimilarity), pair))
        rest = [group for group in partition if group not in joined]
        partition = tuple(sorted([*rest, tuple(sorted(joined[0] + joined[1]))]))
        yield partition


def best_tree(dissimilarity: NDArray[np.float64], costs: Sequence[float], limit: float, beam: int = 0) -> Tree:
    """The tree with the smallest score (then the smallest cost) of those that cost at most `limit`.

    Args:
        dissimilarity: [D, T, T], symmetric, at every location.
        costs: of one unit at every location.
        limit: at least the sum of the costs, which hard sharing has.
        beam: keep this many partial trees per location, the best ones; 0 keeps every tree that may become part of the best
            tree, which makes the result exact for up to `EXHAUSTIVE` tasks.

    Raises:
        ValueError: not even hard sharing is within the limit.
    """
    tasks = dissimilarity.shape[1]
    if sum(costs) > limit * (1 + 1e-9):
        raise ValueError(f"hard sharing costs {sum(costs):g}, which is more than {limit:g}")
    kept = [Tree(0.0, 0.0, (tuple((task,) for task in range(tasks)),))]
    for location in reversed(range(len(costs))):
        shallower = sum(costs[:location])
        by_partition: dict[Partition, list[Tree]] = {}
        for tree in kept:
            for partition in coarser(tree.levels[0], dissimilarity[location]):
                cost = tree.cost + len(partition) * costs[location]
                if cost + shallower <= limit * (1 + 1e-9):
                    score = tree.score + unlikeness(partition, dissimilarity[location])
                    by_partition.setdefault(partition, []).append(Tree(score, cost, (partition, *tree.levels)))
        kept = sorted(tree for trees in by_partition.values() for tree in undominated(trees))
        kept = kept[:beam] if beam else kept
    best = min(kept)
    return Tree(best.score, best.cost, best.levels[:-1])


def undominated(trees: Sequence[Tree]) -> list[Tree]:
    """Those that no other with the same first partition beats in score and cost."""
    front: list[Tree] = []
    for tree in sorted(trees):
        if not front or tree.cost < front[-1].cost:
            front.append(tree)
    return front
