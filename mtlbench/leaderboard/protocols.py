"""Protocol cards side by side: which fields differ between tables that must not be ranked together."""

from __future__ import annotations

from collections.abc import Mapping

from mtlbench.records.values import Json

ABSENT = "–"


def flatten(card: Json | Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    """A nested card as dotted field → plain value. Entries of a list that have a name are addressed by it."""
    entries = _named_entries(card)
    if not entries:
        return {prefix: dict(card) if isinstance(card, Mapping) else card}
    flat: dict[str, Json] = {}
    for key, value in entries:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat


def _named_entries(card: Json | Mapping[str, Json]) -> list[tuple[str, Json]]:
    """Name and value of what a card consists of; empty for a plain value."""
    if isinstance(card, Mapping):
        return list(card.items())
    if isinstance(card, list):
        named = [entry for entry in card if isinstance(entry, dict) and "name" in entry]
        if len(named) == len(card):
            return [(str(entry["name"]), entry) for entry in named]
    return []


def differences(cards: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Json]]:
    """Field → protocol id → value, for the fields in which the cards differ; `ABSENT` where a card lacks the field.

    A field that is missing and one that is empty or null say the same, and are no difference.
    """
    flat = {identity: flatten(card) for identity, card in cards.items()}
    fields = sorted({field for card in flat.values() for field in card})
    table = {field: {identity: card.get(field, ABSENT) for identity, card in flat.items()} for field in fields}
    return {field: values for field, values in table.items() if len({_compared(value) for value in values.values()}) > 1}


def _compared(value: Json) -> str:
    """A value as it is compared: what says nothing is alike."""
    return "" if value in (ABSENT, None, {}, []) else repr(value)


def as_text(value: object) -> str:
    """A card's value for a person: short, and the same on every run."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {as_text(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(entry) for entry in value) or "none"
    return str(value)
