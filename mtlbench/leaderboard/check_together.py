"""Whether records can stand beside each other: those that contradict others are refused by name."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from mtlbench.records import Record, canonical

Found = list[tuple[Path, Record]]


def consistent(found: Found) -> tuple[Found, list[str]]:
    """Records without those that contradict others, and one line for each of these.

    - One id is one trial: of several files with an id and different content only the one created first counts. Copies
      of one file count once.
    - One protocol id is one description of the tasks: of several the one of most records counts, of as many records that
      of the record created first.
    """
    found, refused = _one_content_an_id(found)
    groups: dict[tuple[str, str], Found] = defaultdict(list)
    for path, record in found:
        groups[record.dataset, record.protocol_id].append((path, record))
    bad: set[Path] = set()
    for (_, protocol), group in groups.items():
        cards: dict[object, Found] = defaultdict(list)
        for path, record in group:
            cards[_described(record)].append((path, record))
        kept = min(cards.values(), key=lambda same: (-len(same), min(map(_age, same))))
        for path, _ in (one for same in cards.values() if same is not kept for one in same):
            bad.add(path)
            refused.append(f"{path}: describes its tasks otherwise than {len(kept)} records of the same protocol {protocol}")
    return [one for one in found if one[0] not in bad], refused


def _one_content_an_id(found: Found) -> tuple[Found, list[str]]:
    by_id: dict[tuple[str, str], Found] = defaultdict(list)
    for path, record in found:
        by_id[record.dataset, record.id].append((path, record))
    kept, refused = [], []
    for same in by_id.values():
        first = min(same, key=_age)
        kept.append(first)
        for path, record in same:
            # Compared as text: NaN is unequal to itself.
            if path != first[0] and canonical(record.model_dump()) != canonical(first[1].model_dump()):
                refused.append(f"{path}: has the id {record.id} of {first[0]}, which was created first, and other content")
    return kept, refused


def _described(record: Record) -> object:
    """All of the task cards, as something to compare by."""
    return tuple(
        (task.name, task.kind, task.primary, *((m.name, m.higher_is_better, m.perfect, m.unit) for m in task.metrics))
        for task in record.tasks
    )


def _age(one: tuple[Path, Record]) -> tuple[str, Path]:
    return one[1].provenance.created, one[0]
