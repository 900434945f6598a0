"""Protocol cards side by side: which fields differ between tables that must not be ranked together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSENT = "–"


def flatten(card: Any, prefix: str = "") -> dict[str, Any]:
    """A nested card as dotted field → plain value. Entries of a list that have a name are addressed by it."""
    if isinstance(card, Mapping) and card:
        items = [(str(key), value) for key, value in card.items()]
    elif isinstance(card, list) and card and all(isinstance(entry, Mapping) and "name" in entry for entry in card):
        items = [(str(entry["name"]), entry) for entry in card]
    else:
        return {prefix: card}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def differences(cards: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Field → protocol id → value, for the fields in which the cards differ; `ABSENT` where a card lacks the field."""
    flat = {identity: flatten(card) for identity, card in cards.items()}
    fields = sorted({field for card in flat.values() for field in card})
    table = {field: {identity: card.get(field, ABSENT) for identity, card in flat.items()} for field in fields}
    return {field: values for field, values in table.items() if len({repr(value) for value in values.values()}) > 1}


def text(value: Any) -> str:
    """A card's value for a person: short, and the same on every run."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(text(entry) for entry in value) or "none"
    return str(value)
