"""The record: the JSON file that a finished trial leaves, and all that a leaderboard is drawn from.

A record can be read without the code that made it: whatever a table needs (which way a metric is better, which one is
primary) stands in it. `result` is equal to the byte when the trial is repeated on the same kind of machine; what a clock
or a memory counter said stands apart in `measured`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from mtlbench.records.artefacts import Artefacts
from mtlbench.records.evaluation import Evaluation
from mtlbench.records.model import RecordModel, SparseModel
from mtlbench.records.packed import Packed
from mtlbench.records.plan import Plan
from mtlbench.records.robustness import Robustness
from mtlbench.records.tuning import Tuning
from mtlbench.records.values import Count, JsonObject, Positive

SCHEMA_VERSION: Literal[1] = 1
"""Raised when a field changes its meaning; additions keep it."""


class MetricInfo(RecordModel):
    """How to read a metric. `perfect` is the value that cannot be bettered."""

    name: str
    higher_is_better: bool
    perfect: float
    unit: str = ""


class TaskInfo(RecordModel):
    """A task as tables show it: its metrics in order, and the primary one."""

    name: str
    kind: str
    metrics: list[MetricInfo]
    primary: str


class Point(RecordModel):
    """One epoch of the learning curve. Everything is counted from the trial's start.

    Attributes:
        logged: what the phase says of the epoch.
    """

    epoch: int
    phase: str
    selectable: bool
    images: int
    updates: int
    training_flops: int
    lr: float
    train_loss: dict[str, float]
    val: Evaluation | None
    logged: JsonObject = Field(default_factory=dict)


class Cost(RecordModel):
    """What the deployed network and its training cost. FLOPs: 2 per multiply-add, convolutions and matrix products only.

    Attributes:
        parameters: total; `shared` (owned by two tasks or more); `trunk`; `heads`; and `task:NAME` (owned by it alone).
        flops: of one image: `all` tasks together; `trunk`; `heads`; and `task:NAME` for a task alone.
        images: training images per task, all phases; `updates`: optimizer steps.
        training_flops: of all training steps, forward and backward, and of what phases compute before and after them.
        phases: phase → how much of these it used.
    """

    parameters: dict[str, int]
    flops: dict[str, int]
    images: int
    updates: int
    training_flops: int
    phases: dict[str, dict[str, int]] = Field(default_factory=dict)


class Result(RecordModel):
    """What a trial measured; equal to the byte when repeated.

    Attributes:
        selected: independent part of the network (its tasks, joined by "+") → the epoch its weights are from.
        val, test: the selected, deployed network.
        shifted: evaluations on named shifted test sets.
        robustness: None when not asked for.
        structure: what the deployed network is rebuilt from, beside the trial's specification (`Architecture.structure`).
        plan: the sharing plan.
        extra: measures of a method or dataset (sparsity, agreement with planted groups, …): name → number; columns.
        artefacts: what a picture of the method is drawn from (policy over training, merge tree, …).
        images: task → statistic → per-image array on test.
        scenes: one name per test image, None where unknown: images of one scene are no independent evidence.
        stopped: why training ended before its last epoch; empty, and not written, where it did not.
        micro_batches: into how many pieces batches were cut when memory ran out, more than the protocol says; 0, and not
            written, where that did not happen.
    """

    selected: dict[str, int]
    val: Evaluation
    test: Evaluation
    shifted: dict[str, Evaluation] = Field(default_factory=dict)
    robustness: Robustness | None = None
    cost: Cost
    structure: JsonObject = Field(default_factory=dict)
    plan: Plan | None = None
    extra: dict[str, float] = Field(default_factory=dict)
    artefacts: Artefacts = Field(default_factory=Artefacts)
    curve: list[Point]
    images: dict[str, dict[str, Packed]] = Field(default_factory=dict)
    scenes: list[str | None] = Field(default_factory=list)
    stopped: str = ""
    micro_batches: Count = 0

    @model_serializer(mode="wrap")
    def _without_faults_that_were_not(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value or name not in ("stopped", "micro_batches")}


class Latency(SparseModel):
    """Time for a batch of images, all tasks, in ms.

    Attributes:
        low, high: 10 % and 90 % points of the repetitions.
        device: name of the machine's part that it was measured on.
    """

    median: Positive
    low: float
    high: float
    device: str
    threads: Count | None = None


class Measured(RecordModel):
    """Clock and memory: differs from run to run.

    Attributes:
        training_seconds, evaluation_seconds: wall time inside the trial.
        peak_memory_bytes: of the process (CPU) or the device.
        latency_ms: batch size as text → latency, measured after the sweep, alone on the machine.
    """

    # Latencies are added to a record that exists.
    model_config = ConfigDict(validate_assignment=True)

    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    peak_memory_bytes: int = 0
    latency_ms: dict[str, Latency] = Field(default_factory=dict)


class Provenance(RecordModel):
    """Where a record comes from. Shown with it; no part of its protocol."""

    mtlbench: str
    versions: dict[str, str]
    machine: JsonObject
    sources: dict[str, str]
    created: str


class Record(RecordModel):
    """One finished trial.

    Attributes:
        id: hash of the trial: method, dataset, seed, hyper-parameters, protocol and plugin sources.
        method: the name a leaderboard row has (`pcgrad`, `cross_stitch+alternating`), with `label` for a named variant.
        reference: True for the single-task networks that Δ is measured against.
        hypers: every hyper-parameter of architecture and strategy; `changed`: those that are not at their defaults.
        protocol: the protocol card; `protocol_id`: its hash. Only records with equal ids are ranked together.
        specification: what the trial is planned from when it is run again; empty in records of mtlbench 0.1.
        tasks: those that were scored; `auxiliary`: the names of those that were trained beside them and not scored. (Not
            written where there are none.)
        tuning: its place in a search for hyper-parameters; None outside of one.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    method: str
    label: str = ""
    reference: bool = False
    dataset: str
    seed: int
    hypers: JsonObject = Field(default_factory=dict)
    changed: JsonObject = Field(default_factory=dict)
    tasks: list[TaskInfo]
    auxiliary: list[str] = Field(default_factory=list)
    protocol: JsonObject
    protocol_id: str
    specification: JsonObject = Field(default_factory=dict)
    tuning: Tuning | None = None
    provenance: Provenance
    result: Result
    measured: Measured

    @model_serializer(mode="wrap")
    def _without_no_auxiliary_tasks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value or name != "auxiliary"}

    @property
    def row(self) -> str:
        """The name of the leaderboard row this record belongs to."""
        return self.label or self.method
