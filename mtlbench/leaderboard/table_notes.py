"""What a reader of a table must know beside its numbers, one sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mtlbench.leaderboard.table import Row, Table


def table_notes(rows: Sequence[Row], reference: Row | None, undefined: Sequence[tuple[str, str]]) -> list[str]:
    """On the reference of Δ, on rows that are not ranked, and on records of several machines or versions.

    Args:
        undefined: (task, metric) pairs that are left out of Δ.
    """
    notes = []
    auxiliary = {name: None for row in rows for record in row.records for name in record.auxiliary}
    if auxiliary:
        notes.append(f"Auxiliary tasks, trained by methods that can use them and never scored: {', '.join(auxiliary)}.")
    if reference is None:
        notes.append("No single-task reference under this protocol: Δ is not defined, and rows are sorted by mean skill.")
    else:
        notes.append(f"Δ is measured against {reference.title}, mean of {_seeds(len(reference.records))}.")
        if len(reference.records) < 2:
            notes.append("The reference has one seed: its noise is unknown, and Δ has no interval.")
    others = [row.title for row in rows if row.reference and row is not reference]
    if others:
        notes.append(f"Further references, not ranked: {', '.join(others)}.")
    for task, metric in undefined:
        notes.append(f"{metric} of {task} is left out of Δ: the reference is 0 or undefined there.")
    several = [row.title for row in rows if row.selection != "one epoch"]
    if several:
        notes.append(f"Selected an epoch per task, where the others select one for all: {', '.join(several)}.")
    single = [row.title for row in rows if len(row.records) < 2 and not row.reference]
    if single:
        notes.append(f"One seed, shown and not ranked: {', '.join(single)}.")
    return notes + _hardware_notes(rows)


def band_note(table: Table) -> list[str]:
    """The reference's own noise, one band common to all rows; nothing where it is not known."""
    finite = {name: half for name, half in table.band.items() if half == half}
    if not finite:
        return []
    halves = ", ".join(f"{name} ± {half:.2f}" for name, half in finite.items())
    return [f"The reference's own noise, one band common to all rows, in % of Δ: {halves}."]


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _hardware_notes(rows: Sequence[Row]) -> list[str]:
    records = [record for row in rows for record in row.records]
    notes = []
    devices = {latency.device for record in records for latency in record.measured.latency_ms.values()}
    if len(devices) > 1:
        notes.append(f"Latencies are from several devices and not comparable: {', '.join(sorted(devices))}.")
    versions: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, version in {"mtlbench": record.provenance.mtlbench, **record.provenance.versions}.items():
            versions[name].add(version)
    mixed = [f"{name} {' / '.join(sorted(several))}" for name, several in sorted(versions.items()) if len(several) > 1]
    if mixed:
        notes.append(f"Records from several versions: {'; '.join(mixed)}.")
    return notes
