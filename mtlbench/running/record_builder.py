"""From a trained and selected network to its record: everything that is measured once, after training."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.measure.evaluation import predictions, score
from mtlbench.measure.machine import peak_memory, provenance
from mtlbench.planning.protocol import protocol_id
from mtlbench.records import Cost, Evaluation, Measured, MetricCard, Packed, Provenance, Record, Result, TaskCard
from mtlbench.tasks.base import Task

if TYPE_CHECKING:
    from mtlbench.running.trial import Trial


def build_record(trial: Trial) -> Record:
    """Evaluate the trial's network, which holds the selected weights, on everything; test is touched here and only here."""
    started = time.perf_counter()
    result = build_result(trial)
    spec, method = trial.spec, trial.method
    return Record(
        id=spec.id,
        method=spec.method,
        label=spec.label,
        reference=spec.is_reference,
        dataset=spec.data.name,
        seed=spec.seed,
        hypers={**method.architecture_hypers, **method.strategy_hypers},
        changed=method.changed,
        tasks=[task_card(task) for task in trial.tasks],
        protocol=spec.protocol,
        protocol_id=protocol_id(spec.protocol),
        provenance=Provenance(
            **provenance(trial.device, spec.threads),
            sources=spec.sources,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
        result=result,
        measured=Measured(
            training_seconds=trial.seconds,
            evaluation_seconds=time.perf_counter() - started,
            peak_memory_bytes=peak_memory(trial.device),
        ),
    )


def build_result(trial: Trial) -> Result:
    """All that is equal when the trial is repeated."""
    deployed = trial.network.deploy()
    test, images = _test(trial)
    shifted = {name: trial.evaluate(name) for name in trial.data.splits if name.startswith("test-")}
    plan = trial.network.plan()
    return Result(
        selected={part: epoch for part, (_, epoch) in trial.selection.best.items()},
        val=trial.evaluate("val"),
        test=test,
        shifted=shifted,
        robustness=_robustness(trial, test),
        cost=Cost(
            parameters=parameters(trial.network, deployed),
            flops=inference_flops(trial.network, deployed, trial.device),
            images=trial.images,
            updates=trial.updates,
            training_flops=trial.training_flops,
            phases=trial.by_phase,
        ),
        structure=trial.network.structure(),
        plan=plan.to_json(),
        extra={**trial.network.extra(), **_measures(trial), **_travelled(trial)},
        artefacts=_artefacts(trial),
        curve=trial.curve,
        images=images,
        scenes=list(trial.data.splits["test"].scenes),
    )


def _test(trial: Trial) -> tuple[Evaluation, dict[str, dict[str, Packed]]]:
    split = trial.data.splits["test"]
    scored = predictions(trial.network.deploy(), split, trial.device, trial.evaluation_batch(), trial.autocast)
    metrics, images = score(trial.tasks, scored, keep_images=True)
    packed = {task: {name: Packed.pack(array) for name, array in one.items()} for task, one in images.items()}
    return trial.referee.evaluation(metrics, trial.referee.constant_metrics(split)), packed


def _robustness(trial: Trial, clean: Evaluation) -> dict[str, Any] | None:
    settings = trial.spec.settings
    if settings.robustness == "off" and not settings.robustness_val and not settings.pgd:
        return None
    from mtlbench.measure.robustness import evaluate_robustness

    return evaluate_robustness(trial, clean)


def _measures(trial: Trial) -> dict[str, float]:
    """What the dataset has to say about the sharing plan, and about those that the method considered besides."""
    measures = trial.data.dataset.measures
    further = trial.network.further_plans()
    return {
        **measures(trial.network.plan()),
        **{f"{name}, {which}": value for which, plan in further.items() for name, value in measures(plan).items()},
    }


def _travelled(trial: Trial) -> dict[str, float]:
    """How far the shared weights went, and how far they got: sums over phases, where it was asked for."""
    if trial.diagnostics is None:
        return {}
    phases = trial.diagnostics.summary()["phases"]
    return {
        "path length": sum(phase["path_length"] for phase in phases),
        "displacement": sum(phase["displacement"] for phase in phases),
    }


def _artefacts(trial: Trial) -> dict[str, Any]:
    found = {**trial.network.artefacts(), **trial.strategy.artefacts()}
    if trial.diagnostics is not None:
        found["diagnostics"] = trial.diagnostics.summary()
    return found


def task_card(task: Task) -> TaskCard:
    """A task as its records describe it."""
    metrics = [
        MetricCard(name=one.name, higher_is_better=one.higher_is_better, perfect=one.perfect, unit=one.unit)
        for one in task.metrics
    ]
    return TaskCard(name=task.name, kind=task.kind, metrics=metrics, primary=task.primary.name)
