"""Latency of deployed networks: measured after a sweep, alone on the device, networks interleaved.

Weights do not matter for it, so networks are rebuilt from their specification and structure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mtlbench.measure.machine import device_name, set_up
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record, canonical, read, write

ROUNDS, WARM_UP = 30, 3


def measure_missing(trials: Mapping[str, TrialSpec], paths: Sequence[Path]) -> None:
    """Add latencies to the records that lack one. Where one is missing, all records of its dataset are measured together.

    Args:
        trials: the specifications by id.
        paths: records to look at.
    """
    records = {path: read(path) for path in paths}
    lacking = {record.dataset for record in records.values() if not record.measured.latency_ms}
    for dataset in sorted(lacking):
        group = {path: one for path, one in records.items() if one.dataset == dataset and one.id in trials}
        if not group:
            continue
        networks: dict[str, nn.Module] = {}
        key_of: dict[Path, str] = {}
        for path, record in group.items():
            key_of[path] = canonical([record.method, record.hypers, record.protocol_id, record.result.structure])
            if key_of[path] not in networks:
                networks[key_of[path]] = _rebuild(trials[record.id], record)
        spec = trials[next(iter(group.values())).id]
        figures = measure(networks, spec.protocol["dataset"]["image_size"], spec.threads)
        for path, record in group.items():
            record.measured.latency_ms = figures[key_of[path]]
            write(path, record)


def measure(networks: Mapping[str, nn.Module], image_size: Sequence[int], threads: int) -> dict[str, dict[str, Any]]:
    """Median and range of the time that each network takes for one image, all tasks, fp32.

    Returns:
        network → batch size as text → {"median", "low", "high", "device", "threads"}; low and high: 10 % and 90 % points.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_up(threads)
    image = torch.rand(1, 3, *image_size).to(device).contiguous(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {name: [] for name in networks}
    ready = {
        name: network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for name, network in networks.items()
    }
    with torch.inference_mode():
        for turn in range(ROUNDS + WARM_UP):
            # Interleaved, so that a machine that slows down slows all of them alike.
            for name, network in ready.items():
                elapsed = _time(lambda network=network: network(image), device)  # type: ignore[misc]
                if turn >= WARM_UP:
                    times[name].append(elapsed * 1e3)
    label = device_name(device)
    return {name: {"1": {**_summary(values), "device": label, "threads": threads}} for name, values in times.items()}


def _time(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    tenth = max(len(ordered) // 10, 1)
    return {
        "median": round(statistics.median(ordered), 4),
        "low": round(ordered[tenth - 1], 4),
        "high": round(ordered[-tenth], 4),
    }


def _rebuild(spec: TrialSpec, record: Record) -> nn.Module:
    """The deployed network of a record, with initial weights."""
    from mtlbench.running.trial import build_network

    registry = spec.registry()
    dataset_class = registry.dataset(spec.data.name).cls
    dataset = dataset_class(Path(spec.data.root) if spec.data.root else None, spec.data.options)
    network = build_network(spec, spec.resolve(registry), dataset)
    network.restore_structure(record.result.structure)
    return network.deploy()
