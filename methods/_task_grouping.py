"""Which tasks are alike: debiased CKA between their features, and the best partition under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

Group = tuple[int, ...]
"""Positions in a similarity matrix, ascending."""

DEGENERATE = 1e-6
"""What is left after centring below this share of what was there is rounding, not signal."""


def centred_gram(features: Tensor) -> Tensor:
    """U-centred Gram matrix of features [..., N, C], scaled to norm 1: [..., N, N]; zero where there is no signal.

    The diagonal is left out throughout, which makes the Hilbert-Schmidt independence criterion unbiased (Song et al., JMLR
    2012, eq. 5; Székely and Rizzo, Ann. Statist. 2014). It means something for N ≥ 4.
    """
    n = features.shape[-2]
    # U-centring does the same to the Gram matrix, but only after the digits are lost that a large common part takes.
    centred = features - features.mean(-2, keepdim=True)
    varies = _size(centred) > DEGENERATE * _size(features)
    gram = centred @ centred.mT
    if n < 4:
        return gram * 0
    scale = _size(gram)
    diagonal = torch.eye(n, dtype=torch.bool, device=gram.device)
    gram = gram.masked_fill(diagonal, 0.0)
    means = gram.sum(-1, keepdim=True) / (n - 2)
    means = means - means.sum(-2, keepdim=True) / (2 * (n - 1))
    gram = (gram - means - means.mT).masked_fill(diagonal, 0.0)
    norm = gram.norm(dim=(-2, -1), keepdim=True)
    real = varies & (norm > DEGENERATE * scale)
    return torch.where(real, gram, 0.0) / torch.where(real, norm, 1.0)


def _size(matrix: Tensor) -> Tensor:
    return matrix.detach().norm(dim=(-2, -1), keepdim=True)


def cka(features: Sequence[Tensor]) -> Tensor:
    """Pairwise debiased linear CKA of feature sets of the same N images, each [N, C_i]: [T, T] in [−1, 1], diagonal 1.

    CKA(X, Y) = ⟨K̃, L̃⟩ / (‖K̃‖ ‖L̃‖), K̃ and L̃ the U-centred Gram matrices (Kornblith et al., ICML 2019; debiased by
    Nguyen et al., ICLR 2021). Where it is undefined (fewer than four images, constant features) it is 0.
    """
    grams = torch.stack([centred_gram(one).flatten() for one in features])
    similarity = grams @ grams.T
    return similarity.masked_fill(torch.eye(len(features), dtype=torch.bool, device=grams.device), 1.0)


def partitions(items: Sequence[int]) -> Iterator[list[Group]]:
    """All set partitions, each with its groups in the order of their first members."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield [(first,), *smaller]
        for at, group in enumerate(smaller):
            yield [(first, *group), *smaller[:at], *smaller[at + 1 :]]


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
    threshold is taken, else the last.

    Args:
        similarity: [T, T], symmetric, T ≥ 2.
    """
    count = len(similarity)
    value: dict[Group, float] = {}
    best: tuple[float, list[Group]] = (-float("inf"), [])
    by_size: dict[int, tuple[float, list[Group]]] = {}
    for found in partitions(range(count)):
        for group in found:
            if group not in value:
                value[group] = len(group) * cohesion(similarity, group) / count
        score = sum(value[group] for group in found)
        if len(found) < count and score > by_size.get(len(found), best)[0]:
            by_size[len(found)] = (score, found)
    for size in range(1, count):
        best = max(best, by_size[size], key=lambda one: one[0])
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
    chosen = official_cover(similarity, threshold) if strict_official else best_partition(similarity, threshold)
    return [group for group in chosen if len(group) > 1 and cohesion(similarity, group) > threshold]


def official_cover(similarity: Tensor, threshold: float) -> list[Group]:
    """The groups as the official code finds them, its bug included; feasible for five tasks or fewer.

    It tries families of at most m subsets, single tasks first. On meeting a subset that overlaps those before, it forgets
    them all and goes on instead of refusing the family; so a family whose last subsets cover all tasks counts as a cover,
    with the scores of all its subsets. Such a winner is thrown away only at the end, and the cover of a smaller m is kept
    although a better legal one of this m exists.
    """
    count = len(similarity)
    subsets = [group for size in range(1, count + 1) for group in combinations(range(count), size)]
    scores = {group: {t: cohesion_of(similarity, group, t) if len(group) > 1 else 0.0 for t in group} for group in subsets}
    kept: list[Group] = []
    for most in range(1, count):
        best, legal = -float("inf"), True
        winner: tuple[Group, ...] = ()
        for size in range(1, most + 1):
            for family in combinations(subsets, size):
                covered: set[int] = set()
                overlaps = False
                for group in family:
                    if covered.isdisjoint(group):
                        covered.update(group)
                    else:
                        overlaps = True
                        covered.clear()
                if len(covered) < count:
                    continue
                own = [[scores[group][t] for group in family if t in scores[group]] for t in range(count)]
                value = sum(sum(one) / len(one) for one in own) / count
                if value > best:
                    best, winner, legal = value, family, not overlaps
        if legal:
            kept = list(winner)
        if best >= threshold:
            break
    return sorted(kept)


def cohesion_of(similarity: Tensor, group: Group, task: int) -> float:
    """Mean similarity of one member to the others."""
    return sum(float(similarity[task, other]) for other in group if other != task) / (len(group) - 1)
