"""What can be written as JSON."""

from __future__ import annotations

import json

from mtlbench.conformance.suite import Failed


def require_json(name: str, value: object) -> None:
    """Raise `Failed` unless a value can be written as JSON and read again."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Failed(f"{name} is no JSON: {error}") from None
