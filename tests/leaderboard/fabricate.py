"""Plausible records without any training, made up from a seed: input of leaderboards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.records import (
    Cost,
    Evaluation,
    Latency,
    Measured,
    MetricInfo,
    Packed,
    Plan,
    Point,
    Provenance,
    Record,
    Result,
    Robustness,
    TaskInfo,
    canonical,
    write,
)

TASKS = [
    TaskInfo(
        name="semantic",
        kind="segmentation",
        primary="mIoU",
        metrics=[
            MetricInfo(name="mIoU", higher_is_better=True, perfect=1.0),
            MetricInfo(name="pixel_accuracy", higher_is_better=True, perfect=1.0),
        ],
    ),
    TaskInfo(
        name="depth",
        kind="depth",
        primary="abs_err",
        metrics=[
            MetricInfo(name="abs_err", higher_is_better=False, perfect=0.0, unit="m"),
            MetricInfo(name="rel_err", higher_is_better=False, perfect=0.0),
        ],
    ),
    TaskInfo(
        name="normals",
        kind="normals",
        primary="mean",
        metrics=[
            MetricInfo(name="mean", higher_is_better=False, perfect=0.0, unit="°"),
            MetricInfo(name="median", higher_is_better=False, perfect=0.0, unit="°"),
            MetricInfo(name="within_11.25", higher_is_better=True, perfect=100.0, unit="%"),
        ],
    ),
]
CONSTANT = {"semantic": 0.05, "depth": 3.1, "normals": 48.0}
TYPICAL = {
    "semantic": {"mIoU": 0.52, "pixel_accuracy": 0.82},
    "depth": {"abs_err": 1.21, "rel_err": 0.22},
    "normals": {"mean": 19.5, "median": 14.1, "within_11.25": 44.0},
}

METHODS = {
    "single_task": (0.0, 3.0, 3.0),
    "hard_sharing": (-0.015, 1.0, 1.0),
    "pcgrad": (0.0, 1.0, 1.0),
    "cross_stitch": (0.022, 3.0, 3.0),
    "mtan": (0.028, 1.9, 1.8),
    "adashare": (0.012, 1.1, 0.8),
}
"""Method → (how much better than single-task, relative size, relative FLOPs)."""


def protocol(dataset: str, **changes: Any) -> dict[str, Any]:
    """A protocol card of the usual shape."""
    card: dict[str, Any] = {
        "dataset": {
            "name": dataset,
            "fingerprint": hashlib.sha256(dataset.encode()).hexdigest()[:12],
            "split": "official splits",
        },
        "tasks": [task.model_dump() for task in TASKS],
        "resolution": [64, 128],
        "backbone": {"name": "resnet_tiny", "init": "random"},
        "budget": {"rule": "equal_total", "epochs": 10},
        "selection": "mean val skill",
        "precision": "fp32",
    }
    return {**card, **changes}


def identity(card: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(card).encode()).hexdigest()[:12]


def evaluation(metrics: dict[str, dict[str, float]]) -> Evaluation:
    skill = {}
    for task in TASKS:
        perfect = next(metric.perfect for metric in task.metrics if metric.name == task.primary)
        constant = CONSTANT[task.name]
        skill[task.name] = (constant - metrics[task.name][task.primary]) / (constant - perfect)
    return Evaluation(metrics=metrics, constant=CONSTANT, skill=skill, mean_skill=sum(skill.values()) / len(skill))


def metrics_at(quality: float, generator: np.random.Generator, noise: float = 0.008) -> dict[str, dict[str, float]]:
    """The typical metrics, better by the fraction `quality` and by noise."""
    better = {metric.name: metric.higher_is_better for task in TASKS for metric in task.metrics}
    return {
        task: {
            name: float(value * (1 + (quality + noise * generator.standard_normal()) * (1 if better[name] else -1)))
            for name, value in named.items()
        }
        for task, named in TYPICAL.items()
    }


def record(
    method: str = "hard_sharing",
    dataset: str = "streets",
    seed: int = 0,
    *,
    quality: float | None = None,
    label: str = "",
    changed: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    epochs: int = 10,
    images: int = 0,
    created: str = "2025-01-01T00:00:00Z",
    sources: dict[str, str] | None = None,
    robustness: Robustness | None = None,
) -> Record:
    """One record. `images` > 0 adds per-image statistics of that many test images, two to a scene."""
    effect, size, work = METHODS.get(method, (0.0, 1.0, 1.0))
    quality = effect if quality is None else quality
    card = card or protocol(dataset)
    name = canonical([method, label, changed or {}, dataset, seed, identity(card), sources or {}])
    generator = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16))
    reference = method == "single_task"
    test = evaluation(metrics_at(quality, generator))
    curve = []
    flops = int(work * 2.6e13)
    for epoch in range(1, epochs + 1):
        reached = quality - 0.55 * float(np.exp(-4 * epoch / epochs))
        losses = {task.name: float(1.5 - reached) for task in TASKS}
        curve.append(
            Point(
                epoch=epoch, phase="train", selectable=True, images=500 * epoch, updates=62 * epoch,
                training_flops=flops * epoch, lr=1e-3, train_loss=losses, val=evaluation(metrics_at(reached, generator)),
            )
        )  # fmt: skip
    names = [task.name for task in TASKS]
    depths = ["stem", "stage1", "stage2", "stage3"]
    table: list[list[int | None]] = [[0, 1, 2] if reference else [0, 0, int(i > 1)] for i in range(len(depths))]
    if method == "adashare":
        table[2] = [0, None, 0]
    parameters = int(2.1e6 * size)
    shared = 0 if reference else parameters * 3 // 5
    statistics = {}
    if images:
        statistics = {
            "depth": {
                "abs_sum": Packed.pack(generator.gamma(4, 300, images) * (1 - quality)),
                "valid": Packed.pack(np.full(images, 1000, np.int64)),
            }
        }
    return Record(
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        method=method, label=label, reference=reference, dataset=dataset, seed=seed,
        hypers=changed or {}, changed=changed or {},
        tasks=TASKS, protocol=card, protocol_id=identity(card),
        provenance=Provenance(
            mtlbench="0.1.0", versions={"torch": "2.6.0", "numpy": "2.1.0"}, machine={"cpu": "8 cores", "device": "cpu"},
            sources=sources or dict.fromkeys(method.split("+"), "0" * 16), created=created,
        ),
        result=Result(
            selected={name: epochs - 1 for name in names} if reference else {"+".join(names): epochs},
            val=curve[-1].val if curve[-1].val else test, test=test,
            cost=Cost(
                parameters={"total": parameters, "shared": shared, "trunk": parameters * 4 // 5, "heads": parameters // 5},
                flops={"all": int(1.7e9 * work), **{f"task:{name}": int(0.9e9) for name in names}},
                images=500 * epochs, updates=62 * epochs, training_flops=flops * epochs,
            ),
            plan=Plan(depths=depths, tasks=names, table=table), curve=curve, images=statistics, robustness=robustness,
            scenes=[f"scene{i // 2}" for i in range(images)],
            extra={"sparsity": 0.3} if method == "adashare" else {},
        ),
        measured=Measured(
            training_seconds=61.0 * size + seed, evaluation_seconds=4.0, peak_memory_bytes=int(4e8 * size),
            latency_ms={"1": Latency(median=11.0 * work, low=10.0, high=12.0, device="cpu")},
        ),
    )  # fmt: skip


def sweep(
    methods: Sequence[str] = tuple(METHODS), datasets: Sequence[str] = ("streets",), seeds: int = 3, **options: Any
) -> list[Record]:
    """Every method on every dataset with every seed."""
    return [record(method, dataset, seed, **options) for dataset in datasets for method in methods for seed in range(seeds)]


def save(records: Sequence[Record], results: Path) -> Path:
    """Write records as a scheduler would, one folder per dataset; returns the folder."""
    for record in records:
        write(results / record.dataset / f"{record.id}.json", record)
    return results


def save_changed(record: Record, change: Callable[[Any], object], results: Path) -> Path:
    """Write a record whose JSON was changed, into something that no `Record` can be; returns the file."""
    values = json.loads(record.model_dump_json())
    change(values)
    path = results / record.dataset / f"{record.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, sort_keys=True, indent=1))
    return path
