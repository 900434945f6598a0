"""Δ: agreement with published definitions, and the properties a mean of relative gains must have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlbench.records import MetricInfo, TaskInfo
from mtlbench.statistics import delta as deltas

GOLDEN = Path(__file__).parent.parent / "golden" / "delta.npz"


Metrics = dict[str, dict[str, float]]


def tasks_of(names: Iterable[str], higher: Iterable[bool], groups: Sequence[int]) -> list[TaskInfo]:
    """Tasks of metrics that are given one by one, each with its direction and the number of its task."""
    metrics = [
        MetricInfo(name=str(name), higher_is_better=bool(better), perfect=0.0)
        for name, better in zip(names, higher, strict=True)
    ]
    tasks = []
    for group in sorted(set(groups)):
        own = [metric for metric, other in zip(metrics, groups, strict=True) if other == group]
        tasks.append(TaskInfo(name=f"task{group}", kind="any", metrics=own, primary=own[0].name))
    return tasks


def nested(tasks: Sequence[TaskInfo], numbers: Iterable[float]) -> Metrics:
    """A flat row of numbers as {task: {metric: value}}."""
    flat = iter(numbers)
    return {task.name: {metric.name: float(next(flat)) for metric in task.metrics} for task in tasks}


@pytest.mark.parametrize("dataset", ["nyuv2", "cityscapes"])
def test_the_three_definitions_agree_with_the_published_ones(dataset: str) -> None:
    golden = {key.split("/")[-1]: value for key, value in np.load(GOLDEN).items() if key.startswith(f"delta/{dataset}/")}
    tasks = tasks_of(golden["metrics"], golden["higher_is_better"], golden["task_of_metric"].tolist())
    base = nested(tasks, golden["single_task"])
    for row, metric, task, primary in zip(
        golden["rows"],
        -golden["metric_average_lower_better"],
        golden["task_average_higher_better"],
        golden["primary_higher_better"],
        strict=True,
    ):
        computed = {name: deltas.delta(nested(tasks, row), base, tasks, name) for name in deltas.DEFINITIONS}
        assert computed == pytest.approx({"task": task, "metric": metric, "primary": primary}, abs=1e-6)


TASKS = tasks_of(["iou", "accuracy", "error"], [True, True, False], [0, 0, 1])
POSITIVE = st.floats(0.01, 100)
ROW = st.lists(POSITIVE, min_size=3, max_size=3).map(lambda numbers: nested(TASKS, numbers))


@given(ROW)
def test_the_reference_against_itself_is_zero(row: Metrics) -> None:
    assert all(deltas.delta(row, row, TASKS, name) == 0 for name in deltas.DEFINITIONS)


@given(ROW, ROW, POSITIVE)
def test_units_do_not_matter(row: Metrics, base: Metrics, factor: float) -> None:
    def scaled(metrics: Metrics) -> Metrics:
        return {"task0": metrics["task0"], "task1": {"error": metrics["task1"]["error"] * factor}}

    for name in deltas.DEFINITIONS:
        expected = deltas.delta(row, base, TASKS, name)
        assert deltas.delta(scaled(row), scaled(base), TASKS, name) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(ROW, ROW)
def test_better_in_every_metric_is_a_positive_delta(row: Metrics, base: Metrics) -> None:
    better = {
        "task0": {name: max(row["task0"][name], base["task0"][name]) * 1.01 for name in row["task0"]},
        "task1": {"error": min(row["task1"]["error"], base["task1"]["error"]) * 0.99},
    }
    assert all(deltas.delta(better, base, TASKS, name) > 0 for name in deltas.DEFINITIONS)


def test_task_order_does_not_matter() -> None:
    row, base = nested(TASKS, [0.5, 0.8, 0.3]), nested(TASKS, [0.4, 0.9, 0.2])
    for name in deltas.DEFINITIONS:
        assert deltas.delta(row, base, TASKS, name) == pytest.approx(deltas.delta(row, base, TASKS[::-1], name))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_metric_without_a_reference_is_left_out_for_every_row(bad: float) -> None:
    base = {"task0": {"iou": 0.5, "accuracy": bad}, "task1": {"error": 2.0}}
    row = {"task0": {"iou": 0.6, "accuracy": 0.9}, "task1": {"error": 1.0}}
    assert deltas.undefined(base, TASKS) == [("task0", "accuracy")]
    assert deltas.delta(row, base, TASKS, "task") == pytest.approx((20 + 50) / 2)
    assert deltas.delta(row, base, TASKS, "metric") == pytest.approx((20 + 50) / 2)
    assert math.isnan(deltas.gain(row, base, TASKS)["task0", "accuracy"])


def test_no_reference_at_all_is_nan() -> None:
    row = nested(TASKS, [0.5, 0.8, 0.3])
    assert math.isnan(deltas.delta(row, {}, TASKS, "task"))


def test_an_undefined_metric_of_a_row_makes_its_deltas_undefined_and_no_others() -> None:
    base, row = nested(TASKS, [0.5, 0.8, 0.3]), nested(TASKS, [0.5, math.nan, 0.3])
    assert math.isnan(deltas.delta(row, base, TASKS, "task"))
    assert math.isnan(deltas.delta(row, base, TASKS, "metric"))
    assert deltas.delta(row, base, TASKS, "primary") == 0


def test_an_unknown_definition_is_refused() -> None:
    with pytest.raises(ValueError, match="known: task, metric, primary"):
        deltas.weights("sum", nested(TASKS, [1, 1, 1]), TASKS)


def seeds(
    generator: np.random.Generator, n: int, centre: Sequence[float] = (0.5, 0.8, 0.3), noise: float = 0.01
) -> list[Metrics]:
    return [nested(TASKS, np.array(centre) * (1 + noise * generator.standard_normal(3))) for _ in range(n)]


def test_the_reference_carries_its_noise_into_the_interval() -> None:
    generator = np.random.default_rng(1)
    rows, references = seeds(generator, 5), seeds(generator, 5)
    estimate = deltas.estimate(rows, deltas.Reference(references, TASKS), "task")
    assert estimate.half > estimate.own.half > 0
    assert math.isnan(deltas.estimate(rows, deltas.Reference(references[:1], TASKS), "task").half)
    assert math.isnan(deltas.estimate(rows[:1], deltas.Reference(references, TASKS), "task").half)


def test_intervals_cover_at_three_seeds() -> None:
    """Nominal 95 %: with 400 repetitions the share covered is within 2.2 points of it in 95 % of runs."""
    generator = np.random.default_rng(0)
    truth = deltas.delta(nested(TASKS, (0.5, 0.8, 0.3)), nested(TASKS, (0.45, 0.8, 0.35)), TASKS, "task")
    covered = 0
    for _ in range(400):
        rows, references = seeds(generator, 3), seeds(generator, 3, (0.45, 0.8, 0.35))
        estimate = deltas.estimate(rows, deltas.Reference(references, TASKS), "task")
        covered += abs(estimate.own.mean - truth) <= estimate.half
    assert 0.92 <= covered / 400 <= 1.0


def test_the_band_is_the_noise_of_the_reference_alone() -> None:
    reference = deltas.Reference(seeds(np.random.default_rng(2), 4), TASKS)
    effects = reference.effects(reference.base, "primary")
    assert effects == pytest.approx([-deltas.delta(row, reference.base, TASKS, "primary") for row in reference.seeds])
    assert reference.band("primary") > 0


def test_ranks_share_the_better_place_and_skip_undefined_values() -> None:
    assert deltas.ranks({"a": 1.0, "b": 3.0, "c": 3.0, "d": math.nan}) == {"b": 1, "c": 1, "a": 3}
