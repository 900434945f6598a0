"""The record: the JSON file that a finished trial leaves, and all that a leaderboard is drawn from.

A record can be read without the code that made it: whatever a table needs (which way a metric is better, which one is
primary) stands in it. `result` is equal to the byte when the trial is repeated on the same kind of machine; what a clock
or a memory counter said stands apart in `measured`.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1
"""Raised when a field changes its meaning; additions keep it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


class MetricCard(_Strict):
    """How to read a metric. `perfect` is the value that cannot be bettered."""

    name: str
    higher_is_better: bool
    perfect: float
    unit: str = ""


class TaskCard(_Strict):
    """A task as tables show it: its metrics in order, and the primary one."""

    name: str
    kind: str
    metrics: list[MetricCard]
    primary: str


class Packed(_Strict):
    """An array as zlib-compressed, base64-coded, little-endian bytes."""

    dtype: str
    shape: list[int]
    data: str

    @classmethod
    def pack(cls, array: np.ndarray) -> Packed:
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        return cls(
            dtype=array.dtype.name,
            shape=list(array.shape),
            data=base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii"),
        )

    def unpack(self) -> np.ndarray:
        raw = zlib.decompress(base64.b64decode(self.data))
        return np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)


class Evaluation(_Strict):
    """One network on one set of images.

    Attributes:
        metrics: task → metric → value (NaN where undefined).
        constant: task → the primary metric of the reference constant on the same images.
        skill: task → (c − m)/(c − p); a task whose constant is already perfect is absent.
        mean_skill: mean over the tasks in `skill`.
    """

    metrics: dict[str, dict[str, float]]
    constant: dict[str, float]
    skill: dict[str, float]
    mean_skill: float


class Point(_Strict):
    """One epoch of the learning curve. Everything is counted from the trial's start."""

    epoch: int
    phase: str
    selectable: bool
    images: int
    updates: int
    training_flops: int
    lr: float
    train_loss: dict[str, float]
    val: Evaluation | None
    logged: dict[str, Any] = Field(default_factory=dict)


class Cost(_Strict):
    """What the deployed network and its training cost. FLOPs: 2 a multiply-add, convolutions and matrix products only.

    Attributes:
        parameters: total; `shared` (owned by two tasks or more); `trunk`; `heads`; and `task:NAME` (owned by it alone).
        flops: of one image: `all` tasks together; `trunk`; `heads`; and `task:NAME` for a task alone.
        images: training images seen per task, all phases; `updates`: optimizer steps.
        training_flops: of all training steps, forward and backward, and of what phases compute before and after them.
        phases: what each phase took of them.
    """

    parameters: dict[str, int]
    flops: dict[str, int]
    images: int
    updates: int
    training_flops: int
    phases: dict[str, dict[str, int]] = Field(default_factory=dict)


class Result(_Strict):
    """What the trial found; equal to the byte when repeated.

    Attributes:
        selected: independent part of the network (its tasks, joined by "+") → the epoch its weights are from.
        val, test: the selected, deployed network.
        shifted: evaluations on named shifted test sets.
        robustness: every cell, attack and their summary (`mtlbench.measure.robustness.evaluate_robustness`); None when not
            asked for.
        structure: what the deployed network is rebuilt from, beside the trial's specification (`Architecture.structure`).
        plan: the sharing plan as JSON (`SharingPlan.to_json`).
        extra: measures of a method or dataset (sparsity, agreement with planted groups, …): name → number; columns.
        artefacts: what a picture of the method is drawn from (policy over training, merge tree, …).
        images: task → statistic → per-image array on test; with `scenes` for clustered bootstraps.
    """

    selected: dict[str, int]
    val: Evaluation
    test: Evaluation
    shifted: dict[str, Evaluation] = Field(default_factory=dict)
    robustness: dict[str, Any] | None = None
    cost: Cost
    structure: dict[str, Any] = Field(default_factory=dict)
    plan: dict[str, Any] | None = None
    extra: dict[str, float] = Field(default_factory=dict)
    artefacts: dict[str, Any] = Field(default_factory=dict)
    curve: list[Point]
    images: dict[str, dict[str, Packed]] = Field(default_factory=dict)
    scenes: list[str | None] = Field(default_factory=list)


class Measured(_Strict):
    """Clock and memory: differs from run to run.

    Attributes:
        training_seconds, evaluation_seconds: wall time inside the trial.
        peak_memory_bytes: of the process (CPU) or the device.
        latency_ms: batch size as text → {"median", "low", "high", "device"}: measured after the sweep, alone on the machine.
    """

    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    peak_memory_bytes: int = 0
    latency_ms: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Provenance(_Strict):
    """Where a record comes from. Shown with it; no part of its protocol."""

    mtlbench: str
    versions: dict[str, str]
    machine: dict[str, Any]
    sources: dict[str, str]
    created: str


class Record(_Strict):
    """One finished trial.

    Attributes:
        id: hash of the trial: method, dataset, seed, hyper-parameters, protocol and plugin sources.
        method: the name a leaderboard row has (`pcgrad`, `cross_stitch+alternating`), with `label` for a named variant.
        reference: True for the single-task networks that Δ is measured against.
        hypers: every hyper-parameter of architecture and strategy; `changed`: those that are not at their defaults.
        protocol: the card; `protocol_id`: its hash. Only records with equal ids are ranked together.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    method: str
    label: str = ""
    reference: bool = False
    dataset: str
    seed: int
    hypers: dict[str, Any] = Field(default_factory=dict)
    changed: dict[str, Any] = Field(default_factory=dict)
    tasks: list[TaskCard]
    protocol: dict[str, Any]
    protocol_id: str
    provenance: Provenance
    result: Result
    measured: Measured

    @property
    def row(self) -> str:
        """The name of the leaderboard row this record belongs to."""
        return self.label or self.method
