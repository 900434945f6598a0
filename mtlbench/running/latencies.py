"""Adds latencies to the records of a sweep, after it: then the device has nothing else to do.

Weights do not matter for latency, so networks are rebuilt from their specification and structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from mtlbench.measure.latency import measure
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import canonical, read, write
from mtlbench.running.trained import rebuild_deployed


def measure_missing(trials: Mapping[str, TrialSpec], paths: Sequence[Path]) -> None:
    """Add latencies to the records that lack one. Where one is missing, all records of its dataset are measured together.

    Args:
        trials: the specifications by id.
        paths: records to look at.
    """
    records = {path: read(path) for path in paths}
    lacking = {record.dataset for record in records.values() if not record.measured.latency_ms}
    for dataset in sorted(lacking):
        group = {path: record for path, record in records.items() if record.dataset == dataset and record.id in trials}
        if not group:
            continue
        networks: dict[str, nn.Module] = {}
        key_of: dict[Path, str] = {}
        for path, record in group.items():
            key_of[path] = canonical([record.method, record.hypers, record.protocol_id, record.result.structure])
            if key_of[path] not in networks:
                networks[key_of[path]] = rebuild_deployed(trials[record.id], record.result.structure)
        spec = trials[next(iter(group.values())).id]
        figures = measure(networks, spec.protocol["dataset"]["image_size"], spec.threads)
        for path, record in group.items():
            record.measured.latency_ms = figures[key_of[path]]
            write(path, record)
