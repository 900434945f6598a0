"""Whether records can stand beside each other: those that contradict others are refused by name."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from mtlbench.records import Record, canonical

RecordFile = tuple[Path, Record]


def consistent(files: list[RecordFile]) -> tuple[list[RecordFile], list[str]]:
    """Records without those that contradict others, and one line for each of these.

    - One id is one trial: of several files with an id and different content only the one created first counts. Copies
      of one file count once.
    - One protocol id is one description of the tasks: of several the one of most records counts, of as many records that
      of the record created first.
    """
    files, refused = _one_content_per_id(files)
    groups: dict[tuple[str, str], list[RecordFile]] = defaultdict(list)
    for path, record in files:
        groups[record.dataset, record.protocol_id].append((path, record))
    contradicting: set[Path] = set()
    for (_, protocol), group in groups.items():
        by_description: dict[object, list[RecordFile]] = defaultdict(list)
        for path, record in group:
            by_description[_description(record)].append((path, record))
        kept = min(by_description.values(), key=lambda same: (-len(same), min(map(_age, same))))
        for same in by_description.values():
            for path, _ in same if same is not kept else ():
                contradicting.add(path)
                refused.append(
                    f"{path}: describes its tasks otherwise than {len(kept)} records of the same protocol {protocol}"
                )
    return [(path, record) for path, record in files if path not in contradicting], refused


def _one_content_per_id(files: list[RecordFile]) -> tuple[list[RecordFile], list[str]]:
    by_id: dict[tuple[str, str], list[RecordFile]] = defaultdict(list)
    for path, record in files:
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


def _description(record: Record) -> object:
    """Everything that a record says about its tasks, as something to compare by."""
    return tuple(
        (task.name, task.kind, task.primary, *((m.name, m.higher_is_better, m.perfect, m.unit) for m in task.metrics))
        for task in record.tasks
    )


def _age(file: RecordFile) -> tuple[str, Path]:
    path, record = file
    return record.provenance.created, path
