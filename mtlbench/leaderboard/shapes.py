"""Whether values of a record that no schema describes have the shape that a picture or table is drawn from.

A contributed file can hold anything in its free-form parts. Each function here says yes or no and never raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def is_number(value: Any) -> bool:
    """An int or float; NaN counts, because that is how an undefined result is written."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """A number that is neither NaN nor infinite."""
    return is_number(value) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """An int of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def are_names(value: Any) -> bool:
    """A list of texts, not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def are_numbers(value: Any) -> bool:
    """A mapping from names to numbers."""
    return isinstance(value, Mapping) and all(isinstance(name, str) and is_number(one) for name, one in value.items())


def is_matrix(value: Any, rows: int, columns: int) -> bool:
    """Numbers or truth values in lists, rows × columns."""
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == columns for row in value)
        and all(isinstance(one, int | float) for row in value for one in row)
    )
