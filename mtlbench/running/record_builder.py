"""From a trained network with the selected weights in place to its record: all that is measured once, after training."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from mtlbench.config.method import Method
from mtlbench.contract import Architecture, Augmentation, Dataset
from mtlbench.data.store import Prepared
from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.measure.deployed import deployed
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
        tasks=[task_info(task) for task in evaluator.tasks],
        auxiliary=[task.name for task in data.dataset.tasks if task.name in spec.settings.auxiliary],
        protocol=spec.protocol,
        protocol_id=protocol_id(spec.protocol),
        specification=spec.specification().model_dump(mode="json"),
        tuning=spec.tuning,
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
    shipped = deployed(network)
    test, images = evaluator.evaluate_images(shipped, splits["test"])
    augmentation = data.dataset.augmentation if spec.settings.augment else Augmentation()
    diagnostics = state.diagnostics
    return Result(
        selected=state.selection.epochs,
        val=evaluator.evaluate(shipped, splits["val"]),
        test=test,
        shifted={name: evaluator.evaluate(shipped, split) for name, split in splits.items() if name.startswith("test-")},
        robustness=evaluate_robustness(shipped, evaluator, data, spec.settings, augmentation, test.mean_skill),
        cost=build_cost(network, evaluator, state),
        structure=network.structure(),
        plan=plan_with_exchange(network),
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
        stopped=state.stopped,
        micro_batches=pieces if (pieces := state.run.micro_batches) > spec.settings.micro_batches else 0,
    )


def plan_with_exchange(network: Architecture) -> dict[str, Any]:
    """The sharing plan, and what soft sharing exchanges beyond it."""
    edges = [edge.to_json() for edge in network.exchange()]
    return {**network.plan().to_json(), **({"exchange": edges} if edges else {})}


def build_cost(network: Architecture, evaluator: Evaluator, state: TrainingState) -> Cost:
    """What the deployed network and its training cost."""
    shipped = network.deploy()
    return Cost(
        parameters=parameters(network, shipped),
        flops=inference_flops(network, shipped, evaluator.device),
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
