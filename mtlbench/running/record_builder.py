"""From a trained network with the selected weights in place to its record: all that is measured once, after training."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from torch import nn

from mtlbench.config.method import Method
from mtlbench.contract import Architecture, Augmentation, Dataset
from mtlbench.data.store import Prepared
from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.measure.evaluator import Evaluator
from mtlbench.measure.memory import PeakMemory
from mtlbench.measure.provenance import provenance
from mtlbench.measure.robustness import evaluate_robustness
from mtlbench.planning.protocol import protocol_id
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Cost, Measured, MetricInfo, Packed, Provenance, Record, Result, TaskInfo
from mtlbench.tasks.base import Task
from mtlbench.training.diagnostics import Diagnostics
from mtlbench.training.state import TrainingState


def build_record(
    spec: TrialSpec, method: Method, data: Prepared, evaluator: Evaluator, state: TrainingState, memory: PeakMemory
) -> Record:
    """Evaluate the trained network on everything; test is touched here and only here."""
    started = time.perf_counter()
    result = build_result(spec, data, evaluator, state)
    return Record(
        id=spec.id,
        method=spec.method,
        label=spec.label,
        reference=spec.is_reference,
        dataset=spec.data.name,
        seed=spec.seed,
        hypers={**method.architecture_hypers, **method.strategy_hypers},
        changed=method.changed,
        tasks=[task_info(task) for task in data.dataset.tasks],
        protocol=spec.protocol,
        protocol_id=protocol_id(spec.protocol),
        provenance=Provenance(
            **provenance(evaluator.device, spec.threads),
            sources=spec.sources,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
        result=result,
        measured=Measured(
            training_seconds=state.seconds,
            evaluation_seconds=time.perf_counter() - started,
            peak_memory_bytes=memory.bytes(),
        ),
    )


def build_result(spec: TrialSpec, data: Prepared, evaluator: Evaluator, state: TrainingState) -> Result:
    """All that is equal when the trial is repeated."""
    network, splits = state.network, data.splits
    deployed = network.deploy()
    test, images = evaluator.evaluate_images(deployed, splits["test"])
    augmentation = data.dataset.augmentation if spec.settings.augment else Augmentation()
    diagnostics = state.diagnostics
    return Result(
        selected=state.selection.epochs,
        val=evaluator.evaluate(deployed, splits["val"]),
        test=test,
        shifted={name: evaluator.evaluate(deployed, split) for name, split in splits.items() if name.startswith("test-")},
        robustness=evaluate_robustness(deployed, evaluator, data, spec.settings, augmentation, test.mean_skill),
        cost=build_cost(network, deployed, evaluator, state),
        structure=network.structure(),
        plan=network.plan().to_json(),
        extra={**network.extra(), **plan_measures(network, data.dataset), **distances(diagnostics)},
        artefacts={
            **network.artefacts(),
            **state.strategy.artefacts(),
            **({} if diagnostics is None else {"diagnostics": diagnostics.summary()}),
        },
        curve=state.curve,
        images={
            task: {name: Packed.pack(array) for name, array in statistics.items()} for task, statistics in images.items()
        },
        scenes=list(splits["test"].scenes),
    )


def build_cost(network: Architecture, deployed: nn.Module, evaluator: Evaluator, state: TrainingState) -> Cost:
    """What the deployed network and its training cost."""
    return Cost(
        parameters=parameters(network, deployed),
        flops=inference_flops(network, deployed, evaluator.device),
        images=state.cost.images,
        updates=state.cost.updates,
        training_flops=state.cost.training_flops,
        phases=state.cost.phases,
    )


def plan_measures(network: Architecture, dataset: Dataset) -> dict[str, float]:
    """What the dataset has to say about the sharing plan, and about those that the method considered besides."""
    further = network.further_plans().items()
    return {
        **dataset.measures(network.plan()),
        **{f"{name}, {plan}": value for plan, table in further for name, value in dataset.measures(table).items()},
    }


def distances(diagnostics: Diagnostics | None) -> dict[str, float]:
    """How far the shared weights went, and how far they got: sums over phases, where it was asked for."""
    if diagnostics is None:
        return {}
    phases: list[dict[str, Any]] = diagnostics.summary()["phases"]
    return {
        "path length": sum(phase["path_length"] for phase in phases),
        "displacement": sum(phase["displacement"] for phase in phases),
    }


def task_info(task: Task) -> TaskInfo:
    """A task as its records describe it."""
    metrics = [
        MetricInfo(name=metric.name, higher_is_better=metric.higher_is_better, perfect=metric.perfect, unit=metric.unit)
        for metric in task.metrics
    ]
    return TaskInfo(name=task.name, kind=task.kind, metrics=metrics, primary=task.primary.name)
