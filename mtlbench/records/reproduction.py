"""Whether a trial that was run again gave the same record, field by field, and what may be the cause where it did not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtlbench.records.files import canonical
from mtlbench.records.packed import Packed
from mtlbench.records.record import Record, Result

CONFIGURATION = ("method", "label", "reference", "dataset", "seed", "hypers", "changed", "tasks", "protocol")
"""Fields of a record that say what was run."""


@dataclass(frozen=True)
class Difference:
    """One value that is another one in the second record.

    Attributes:
        place: dotted, below its field: `depth.abs_err` of `result.test`.
        text: both values, and how far apart they are where they are numbers.
    """

    place: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """Two records of one trial.

    Attributes:
        same: fields that are equal to the byte.
        different: field → what differs in it.
        not_compared: field → both values, of what differs by nature: times, memory, dates, the machine.
        causes: what is known to differ between the two runs, the likeliest cause first; empty where nothing is.
    """

    same: list[str]
    different: dict[str, list[Difference]]
    not_compared: dict[str, str]
    causes: list[str]


def compare(first: Record, second: Record) -> Comparison:
    """Compare a record with that of the same trial, run again."""
    before, after = first.model_dump(), second.model_dump()
    fields = {name: (before[name], after[name]) for name in CONFIGURATION}
    for name in Result.model_fields:
        fields[f"result.{name}"] = (before["result"].get(name), after["result"].get(name))
    different = {name: list(_differences("", *values)) for name, values in fields.items() if not _equal(*values)}
    nature = {
        f"{part}.{name}": f"{_short(before[part].get(name))} → {_short(after[part].get(name))}"
        for part in ("measured", "provenance")
        for name in before[part] | after[part]
        if not _equal(before[part].get(name), after[part].get(name))
    }
    return Comparison([name for name in fields if name not in different], different, nature, causes(first, second))


def causes(first: Record, second: Record) -> list[str]:
    """What is known to differ between two runs of a trial and may have changed its result, the likeliest first."""
    before, after = first.provenance, second.provenance
    compared = (
        ("source of", before.sources, after.sources),
        ("protocol:", first.protocol, second.protocol),
        ("version of", {"mtlbench": before.mtlbench}, {"mtlbench": after.mtlbench}),
        ("version of", before.versions, after.versions),
        ("machine:", before.machine, after.machine),
    )
    return [
        f"{kind} {difference.place}: {difference.text}"
        for kind, old, new in compared
        for difference in _differences("", old, new)
    ]


def _equal(first: object, second: object) -> bool:
    return canonical(first) == canonical(second)


def _differences(place: str, first: Any, second: Any) -> Iterator[Difference]:
    """The smallest parts that are not equal."""
    if _equal(first, second):
        return
    if _is_packed(first) and _is_packed(second):
        yield Difference(place, _of_arrays(first, second))
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(key for key in second if key not in first)]:
            below = f"{place}.{key}" if place else str(key)
            yield from _differences(below, first.get(key), second.get(key))
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (old, new) in enumerate(zip(first, second, strict=True)):
            yield from _differences(f"{place}[{index}]", old, new)
    else:
        yield Difference(place, _of_values(first, second))


def _of_values(first: object, second: object) -> str:
    text = f"{_short(first)} → {_short(second)}"
    if isinstance(first, float) and isinstance(second, float) and first != 0 and np.isfinite([first, second]).all():
        text += f" ({100 * (second - first) / abs(first):+.2g} %)"
    return text


def _is_packed(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == Packed.model_fields.keys()


def _of_arrays(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """How many images of two arrays of per-image statistics differ, and by how much at most."""
    try:
        old, new = Packed(**first).unpack(), Packed(**second).unpack()
    except (ValueError, TypeError, zlib.error):
        return "the arrays cannot be unpacked"
    if old.shape != new.shape or old.ndim == 0:
        return f"an array of {list(old.shape)} → one of {list(new.shape)}"
    old, new = (array.reshape(len(array), -1).astype(np.float64) for array in (old, new))
    changed = ~((old == new) | (np.isnan(old) & np.isnan(new)))
    largest = np.nanmax(np.abs(new - old), initial=0.0, where=changed)
    return f"{int(changed.any(axis=1).sum())} of {len(old)} images, by {largest:.3g} at most"


def _short(value: object, length: int = 60) -> str:
    if isinstance(value, float):
        return repr(value)
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
