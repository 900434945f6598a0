"""Bounds of a hyper-parameter's value: declared as numbers, so that they can be checked, printed and searched within."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """What a value must satisfy.

    Attributes:
        ge, gt, le, lt: limits of a number, or of every number in a sequence or mapping. A value that is no number (such as
            "auto", where the annotation allows it) is not compared.
        choices: the allowed values, where the annotation does not say them.
        min_length, max_length: limits of a collection's length.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[object, ...] | None = None
    min_length: int | None = None
    max_length: int | None = None

    def admit(self, value: object) -> bool:
        """Whether the value is within the bounds."""
        if self.choices is not None and value not in self.choices:
            return False
        if isinstance(value, Collection) and not isinstance(value, str):
            if self.min_length is not None and len(value) < self.min_length:
                return False
            if self.max_length is not None and len(value) > self.max_length:
                return False
            elements = value.values() if isinstance(value, dict) else value
            return all(self._within(element) for element in elements)
        return self._within(value)

    def describe(self, name: str) -> str:
        """The bounds as a condition on `name`, such as "0 <= name <= 1"; empty without any."""
        conditions = []
        if self.choices is not None:
            conditions.append(f"{name} in {', '.join(map(repr, self.choices))}")
        if self.min_length is not None or self.max_length is not None:
            conditions.append(_range(f"len({name})", self.min_length, None, self.max_length, None))
        if (self.ge, self.gt, self.le, self.lt) != (None, None, None, None):
            values = "each value" if (self.min_length, self.max_length) != (None, None) else name
            conditions.append(_range(values, self.ge, self.gt, self.le, self.lt))
        return " and ".join(conditions)

    def _within(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def _range(name: str, ge: float | None, gt: float | None, le: float | None, lt: float | None) -> str:
    lower = f"{ge:,} <= " if ge is not None else f"{gt:,} < " if gt is not None else ""
    upper = f" <= {le:,}" if le is not None else f" < {lt:,}" if lt is not None else ""
    if lower and not upper:
        return f"{name} {'>=' if ge is not None else '>'} {ge if ge is not None else gt:,}"
    return f"{lower}{name}{upper}"
