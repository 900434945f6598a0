"""Partitions of a set of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Group = tuple[int, ...]
"""Numbers of tasks, ascending."""

Partition = tuple[Group, ...]
"""Disjoint groups that cover all tasks."""


def partitions(items: Sequence[int]) -> Iterator[list[Group]]:
    """All set partitions, each with its groups in the order of their first members."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield [(first,), *smaller]
        for position, group in enumerate(smaller):
            yield [(first, *group), *smaller[:position], *smaller[position + 1 :]]
