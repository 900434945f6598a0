"""What users and other programs may hand over: values of every kind, and good ones with something broken in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from mtlbench.errors import UserError

T = TypeVar("T")

short = settings(max_examples=40, deadline=None, derandomize=True)
"""A profile of a few seconds for a whole file, with the same examples on every machine."""

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "\n", "\0", "\ud800", "../x", "nan", "1e999", "2001-99-99", "0x", "[", "*a", "!!set {a}", "="]
    ),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**30, 10**400]),
    st.floats(),
    texts,
)

values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
"""Anything that YAML or JSON can hold."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values within nested lists and dictionaries, the outermost left out."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [(*path, key) for key, _ in inside]
    return below + [place for way in below for place in places(_at(value, way[len(path) :]), way)]


@st.composite
def broken(draw: st.DrawFn, good: Any) -> Any:
    """A good value with one to three changes: something replaced, removed or added anywhere in it."""
    result = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(result) or [()]))
        if not way:
            return draw(values)
        parent, key = _at(result, way[:-1]), way[-1]
        change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if change == "replace":
            parent[key] = draw(values)
        elif change == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw(texts)] = draw(values)
        else:
            parent.insert(key, draw(values))
    return result


def _at(value: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        value = value[key]
    return value


def accepted(read: Callable[[], T]) -> T | None:
    """What was read; None where it was refused, as a user can be told: in one line that can be printed."""
    try:
        return read()
    except UserError as error:
        line = str(error)
        assert line and line == line.strip() and len(line.splitlines()) == 1
        assert len(line) < 2000, "nobody reads a whole file in an error message"
        line.encode("utf-8")
        return None
