"""Other values of an option, to see what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from mtlbench.contract.hyper import Configurable
from mtlbench.errors import UserError


def other_values(cls: type[Configurable], name: str, value: object) -> Iterator[object]:
    """Values near `value` that the option's declaration allows; none for kinds that no neighbours are known of."""
    for candidate in _neighbours(cls._kind(name), value):
        try:
            checked = cls.configure({name: candidate}, cls.__name__)[name]
        except UserError:
            continue
        if checked != value:
            yield checked


def _neighbours(annotation: object, value: object) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (value / 2, value + 0.5, value - 0.5)
    elif isinstance(value, tuple) and value:
        yield from (value[:-1], value[::-1], (*value, value[-1]))
