"""The search for groups of tasks as MTSL's official code does it, its bug included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from .._shared.partitions import Group


class Cover(NamedTuple):
    """Groups that cover all tasks, and the mean over tasks of their scores."""

    groups: list[Group]
    score: float


class Family(NamedTuple):
    """Subsets of tasks on a path of the search, in the order in which they were added.

    Attributes:
        subsets: the path.
        covered: the tasks that the search believes covered.
        overlaps: whether a subset has met an earlier one.
        scores: per task, its highest score in a subset of the family; −∞ for a task that is in none.
    """

    subsets: tuple[Group, ...]
    covered: frozenset[int]
    overlaps: bool
    scores: tuple[float, ...]


def official_cover(similarity: Tensor, threshold: float) -> Cover:
    """The groups as the official code finds them; feasible for five tasks or fewer.

    For m = 1, 2, … T − 1 it tries families of at most m subsets. On meeting a subset that overlaps those before, it
    forgets them all and goes on instead of refusing the family; so a family whose last subsets cover all tasks counts as
    a cover, and a task that several of its subsets contain has the highest of its scores in them. Such a winner is
    discarded only at the end, and the cover of a smaller m is kept although a better legal one of this m exists. Of equal
    covers the one that is visited first wins (`visit`).

    Args:
        similarity: [T, T], symmetric, T ≥ 2.
    """
    count = len(similarity)
    subsets = list(subsets_in_order(range(count)))
    scores = [scores_in(similarity, subset) for subset in subsets]
    kept = Cover([], -float("inf"))
    for most in range(1, count):
        best = Cover([], -float("inf"))
        legal = True
        for family in visit(Family((), frozenset(), False, (-float("inf"),) * count), subsets, scores, most):
            if len(family.covered) < count:
                continue
            score = sum(family.scores) / count
            if score > best.score:
                best, legal = Cover(list(family.subsets), score), not family.overlaps
        if legal:
            kept = best
        if best.score >= threshold:
            break
    return Cover(sorted(kept.groups), kept.score)


def subsets_in_order(tasks: Sequence[int]) -> Iterator[Group]:
    """All subsets of ascending tasks in the official order: those that a task starts, then the task alone.

    For tasks 0, 1, 2: (0, 1), (0, 1, 2), (0, 2), (0,), (1, 2), (1,), (2,).
    """

    def longer(start: Group, rest: Sequence[int]) -> Iterator[Group]:
        for position, task in enumerate(rest):
            yield (*start, task)
            yield from longer((*start, task), rest[position + 1 :])

    for position, task in enumerate(tasks):
        yield from longer((task,), tasks[position + 1 :])
        yield (task,)


def scores_in(similarity: Tensor, subset: Group) -> dict[int, float]:
    """Task → its mean similarity to the other members; 0 when it is alone."""
    return {
        task: sum(float(similarity[task, other]) for other in subset if other != task) / max(1, len(subset) - 1)
        for task in subset
    }


def visit(
    family: Family, subsets: Sequence[Group], scores: Sequence[dict[int, float]], most: int, start: int = 0
) -> Iterator[Family]:
    """All families of at most `most` subsets that begin with the given one: depth first, each before its continuations."""
    if family.subsets:
        yield family
    if len(family.subsets) == most:
        return
    for number in range(start, len(subsets)):
        yield from visit(extended(family, subsets[number], scores[number]), subsets, scores, most, number + 1)


def extended(family: Family, subset: Group, scores: dict[int, float]) -> Family:
    """The family with one more subset."""
    disjoint = family.covered.isdisjoint(subset)
    highest = list(family.scores)
    for task, score in scores.items():
        highest[task] = max(highest[task], score)
    return Family(
        subsets=(*family.subsets, subset),
        covered=family.covered.union(subset) if disjoint else frozenset(),
        overlaps=family.overlaps or not disjoint,
        scores=tuple(highest),
    )
