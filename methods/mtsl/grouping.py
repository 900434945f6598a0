"""Which tasks merge: the best partition under a similarity, by exhaustive search."""

from __future__ import annotations

from itertools import combinations

from torch import Tensor

from .._shared.partitions import Group, partitions
from .official_search import official_cover


def cohesion(similarity: Tensor, group: Group) -> float:
    """Mean over the members of their mean similarity to the other members; 0 for a member alone."""
    if len(group) < 2:
        return 0.0
    pairs = [float(similarity[i, j]) for i, j in combinations(group, 2)]
    return sum(pairs) / len(pairs)


def best_partition(similarity: Tensor, threshold: float) -> list[Group]:
    """The partition that is chosen, by exhaustive search.

    A task's score is its mean similarity to the other members of its group, 0 when it is alone; a partition's is the mean
    over tasks. For m = 1, 2, … T − 1 the best partition into at most m groups is sought; the first that reaches the
    threshold is chosen, else the last.

    Args:
        similarity: [T, T], symmetric, T ≥ 2.
    """
    count = len(similarity)
    score_of_group: dict[Group, float] = {}
    best: tuple[float, list[Group]] = (-float("inf"), [])
    by_size: dict[int, tuple[float, list[Group]]] = {}
    for partition in partitions(range(count)):
        for group in partition:
            if group not in score_of_group:
                score_of_group[group] = len(group) * cohesion(similarity, group) / count
        score = sum(score_of_group[group] for group in partition)
        if len(partition) < count and score > by_size.get(len(partition), best)[0]:
            by_size[len(partition)] = (score, partition)
    for size in range(1, count):
        best = max(best, by_size[size], key=lambda scored: scored[0])
        if best[0] >= threshold:
            break
    return sorted(best[1])


def merging(similarity: Tensor, threshold: float, strict_official: bool = False) -> list[Group]:
    """The groups to merge: those of the chosen partition with two members or more and a cohesion above the threshold.

    Args:
        similarity: [T, T]; fewer than two tasks merge nothing.
        strict_official: search as the official code does, see `official_cover`.
    """
    if len(similarity) < 2:
        return []
    similarity = similarity.detach().double().cpu()
    chosen = official_cover(similarity, threshold).groups if strict_official else best_partition(similarity, threshold)
    return [group for group in chosen if len(group) > 1 and cohesion(similarity, group) > threshold]
