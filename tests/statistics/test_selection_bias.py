"""Test-set selection bias of single trials, by hand."""

from __future__ import annotations

import pytest

from mtlbench.records import Evaluation, Record
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.statistics import delta as deltas
from mtlbench.statistics.selection_bias import MEASURES, Baselines, selection_bias
from tests.leaderboard import fabricate


def scaled(evaluation: Evaluation, factors: dict[str, float]) -> Evaluation:
    """The same with skills (and metrics, all of which are better the higher or lower they are) moved by factors."""
    better = {task.name: {metric.name: metric.higher_is_better for metric in task.metrics} for task in fabricate.TASKS}
    metrics = {
        task: {
            name: value * (factors.get(task, 1.0) if better[task][name] else 2 - factors.get(task, 1.0))
            for name, value in values.items()
        }
        for task, values in evaluation.metrics.items()
    }
    return fabricate.evaluation(metrics)


def trial(selected: dict[str, int]) -> tuple[Record, EpochsOnTest]:
    """A trial of which val selected epoch 1; on test, epoch 2 is better in one task and worse in the others."""
    record = fabricate.record("hard_sharing").model_copy(deep=True)
    record.result.selected = selected
    test = record.result.test
    epochs = {1: test, 2: scaled(test, {"depth": 1.2, "normals": 0.99, "semantic": 0.99})}
    return record, EpochsOnTest(record=record.id, test=epochs)


def test_a_shared_network_claims_its_best_epoch_and_parts_choose_alone() -> None:
    shared, epochs = trial({"semantic+depth+normals": 1})
    measures = selection_bias(shared, epochs, shared.tasks, None)
    assert set(measures) == {"skill", "best_skill", "best_skill_per_task", "skill_bias"}
    assert measures["skill"] == shared.result.test.mean_skill
    assert measures["best_skill"] == pytest.approx(epochs.test[2].mean_skill)
    assert measures["skill_bias"] == pytest.approx(epochs.test[2].mean_skill - shared.result.test.mean_skill)
    separate, epochs = trial({"semantic": 1, "depth": 1, "normals": 1})
    parts = selection_bias(separate, epochs, separate.tasks, None)
    best = [max(evaluation.skill[task] for evaluation in epochs.test.values()) for task in ("semantic", "depth", "normals")]
    assert parts["best_skill"] == parts["best_skill_per_task"] == pytest.approx(sum(best) / 3)
    assert parts["best_skill"] > measures["best_skill"]


def test_delta_is_claimed_against_the_reference_as_ranked_and_at_its_best() -> None:
    reference = fabricate.record("single_task")
    better = scaled(reference.result.test, {"semantic": 1.1})
    own = EpochsOnTest(record=reference.id, test={9: reference.result.test, 3: better})
    record, epochs = trial({"semantic+depth+normals": 1})
    unknown = Baselines.of([reference], {}, record.tasks)
    assert unknown.best == {}
    assert set(MEASURES) - set(selection_bias(record, epochs, record.tasks, unknown)) == {"best_delta_both"}
    baselines = Baselines.of([reference], {reference.id: own}, record.tasks)
    assert baselines.best["semantic"] == pytest.approx(better.metrics["semantic"])
    assert baselines.best["depth"] == pytest.approx(reference.result.test.metrics["depth"])
    measures = selection_bias(record, epochs, record.tasks, baselines)
    assert measures["delta"] == deltas.delta(record.result.test.metrics, baselines.test, record.tasks)
    assert measures["best_delta"] == deltas.delta(epochs.test[2].metrics, baselines.test, record.tasks)
    assert measures["delta_bias"] == pytest.approx(measures["best_delta"] - measures["delta"])
    assert measures["best_delta_both"] < measures["best_delta"]


def test_regret_is_what_selection_by_delta_on_val_would_have_gained() -> None:
    record, epochs = trial({"semantic+depth+normals": 1})
    baselines = Baselines.of([fabricate.record("single_task")], {}, record.tasks)
    on_val = {1: 1.0, 2: 1.05}  # by Δ on val, epoch 2 is better
    for point in record.result.curve:
        if point.epoch in on_val:
            point.val = scaled(record.result.val, dict.fromkeys(("semantic", "depth", "normals"), on_val[point.epoch]))
    measures = selection_bias(record, epochs, record.tasks, baselines)
    gained = deltas.delta(epochs.test[2].metrics, baselines.test, record.tasks)
    assert measures["regret"] == pytest.approx(gained - measures["delta"])
