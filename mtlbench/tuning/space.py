"""What is searched: the settings that an experiment shares among all methods, and what a method declares with `search=`.

A point of the space is given by coordinates in [0, 1), so that every way to draw numbers gives configurations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.config.method import Method
from mtlbench.contract.hyper import Choice, HyperInfo, LogUniform, Search, Simplex, Uniform, describe_range
from mtlbench.errors import UserError

DIGITS = 4
"""Significant digits of a drawn number: logarithms differ in the last bits between machines, and ids must not."""


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched.

    Attributes:
        name: of the setting, or of the hyper-parameter as it is given.
        search: its range.
        whole: True for hyper-parameters that are whole numbers.
        tasks: of a `Simplex`: the tasks.
    """

    name: str
    search: Search
    whole: bool = False
    tasks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many coordinates it takes."""
        return max(len(self.tasks) - 1, 0) if isinstance(self.search, Simplex) else 1

    def describe(self) -> str:
        """The range in words."""
        if isinstance(self.search, Simplex):
            return f"shares of {', '.join(self.tasks)}"
        return describe_range(self.search) + (", whole numbers" if self.whole else "")

    def value(self, coordinates: Sequence[float]) -> Any:
        """The value at coordinates in [0, 1)."""
        match self.search:
            case Uniform(low=low, high=high):
                number = low + coordinates[0] * (high - low)
            case LogUniform(low=low, high=high):
                number = low * (high / low) ** coordinates[0]
            case Choice(values=values):
                return values[min(int(coordinates[0] * len(values)), len(values) - 1)]
            case Simplex():
                return _shares(self.tasks, coordinates)
        # Rounding must not leave the range.
        number = min(max(_rounded(number), low), high)
        return min(max(round(number), math.ceil(low)), math.floor(high)) if self.whole else number


@dataclass(frozen=True)
class Space:
    """Everything that is searched of one method on one dataset.

    Attributes:
        settings: the shared settings; `hypers`: the method's own.
    """

    settings: tuple[Dimension, ...]
    hypers: tuple[Dimension, ...]

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        return (*self.settings, *self.hypers)

    @property
    def size(self) -> int:
        """How many coordinates a point has."""
        return sum(dimension.size for dimension in self.dimensions)

    def values(self, point: Sequence[float]) -> dict[str, Any]:
        """Name → value at a point of `size` coordinates in [0, 1)."""
        values, start = {}, 0
        for dimension in self.dimensions:
            values[dimension.name] = dimension.value(point[start : start + dimension.size])
            start += dimension.size
        return values

    def describe(self) -> dict[str, str]:
        """Name → range in words."""
        return {dimension.name: dimension.describe() for dimension in self.dimensions}


def space_of(
    method: Method, settings: Mapping[str, tuple[float, float]], tasks: Sequence[str], given: Collection[str] = ()
) -> Space:
    """The space of a method on a dataset.

    Args:
        settings: shared setting → its range, on a logarithmic scale.
        tasks: the dataset's.
        given: hyper-parameters that the experiment fixes; they are not searched.

    Raises:
        UserError: a `Simplex` on a hyper-parameter that does not map tasks to numbers.
    """
    shared = tuple(Dimension(name, LogUniform(low, high)) for name, (low, high) in sorted(settings.items()))
    return Space(shared, tuple(_hypers(method, set(settings), tuple(tasks), set(given))))


def _hypers(method: Method, taken: set[str], tasks: tuple[str, ...], given: set[str]) -> Iterator[Dimension]:
    parts = {"architecture": method.architecture.cls, "strategy": method.strategy.cls}
    for part, cls in parts.items():
        others = {name for other, named in parts.items() if other != part for name in named.hypers}
        for name, info in cls.hypers.items():
            key = f"{part}.{name}" if name in taken or name in others else name
            if info.search is None or given & {name, f"{part}.{name}"}:
                continue
            kind = cls._kind(name)
            if isinstance(info.search, Simplex):
                _check_simplex(key, cls.__name__, info, tasks, cls)
                yield Dimension(key, info.search, tasks=tasks)
            else:
                yield Dimension(key, info.search, whole=kind is int and not isinstance(info.search, Choice))


def _check_simplex(name: str, owner: str, info: HyperInfo, tasks: tuple[str, ...], cls: Any) -> None:
    """Whether shares of the tasks fit the hyper-parameter."""
    try:
        cls.configure({name.rpartition(".")[2]: dict.fromkeys(tasks, 1 / len(tasks))}, owner)
    except UserError as error:
        raise UserError(f"{owner}.{name} is searched among shares of the tasks, which it refuses: {error}") from None


def _shares(tasks: tuple[str, ...], coordinates: Sequence[float]) -> dict[str, float]:
    """Shares that are uniform on the simplex where the coordinates are uniform: the gaps between the sorted coordinates."""
    ends = [0.0, *sorted(coordinates), 1.0]
    return {task: round(high - low, DIGITS) for task, low, high in zip(tasks, ends[:-1], ends[1:], strict=True)}


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
