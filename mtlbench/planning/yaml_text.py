"""YAML as users write it, read into plain values: what JSON can hold, so that it can be hashed, sent and written again."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from mtlbench.records.values import Json, as_json

LARGEST = 2**63 - 1
"""The largest whole number that all readers of JSON agree on."""

MOST = 100_000
"""Values in one text: more are no experiment, but a few lines that repeat references to themselves."""


def read_yaml(text: str) -> Json:
    """The value of a YAML text.

    Raises:
        ValueError: not YAML, or no plain value: dates, sets, references to itself, numbers of more than 64 bits. One line.
    """
    try:
        value = yaml.safe_load(text)
        for count, part in enumerate(_parts(value)):
            if count > MOST:
                raise ValueError(f"more than {MOST:,} values")
            if isinstance(part, int) and abs(part) > LARGEST:
                raise ValueError("a whole number of more than 64 bits")
        return as_json(value)
    except RecursionError:
        raise ValueError("nested too deeply, or a reference to itself") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _parts(value: object) -> Iterator[object]:
    """All values in a value, as often as they stand there."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part
