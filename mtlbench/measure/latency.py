"""Latency of deployed networks: alone on the device, networks interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from mtlbench.measure.kernels import use_any_kernels
from mtlbench.measure.provenance import device_name
from mtlbench.networks.placement import on_device

ROUNDS, WARM_UP = 30, 3


def measure(networks: Mapping[str, nn.Module], image_size: Sequence[int], threads: int) -> dict[str, dict[str, Any]]:
    """Median and range of the time that each network takes for one image, all tasks, fp32.

    Returns:
        network → batch size as text → {"median", "low", "high", "device", "threads"}; low and high: 10 % and 90 % points.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    use_any_kernels(threads)
    image = torch.rand(1, 3, *image_size).to(device).contiguous(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {name: [] for name in networks}
    ready = {name: on_device(network, device).eval() for name, network in networks.items()}
    with torch.inference_mode():
        for turn in range(ROUNDS + WARM_UP):
            # Interleaved, so that a machine that slows down slows all of them alike.
            for name, network in ready.items():
                elapsed = _time(partial(network, image), device)
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
