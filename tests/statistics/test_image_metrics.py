"""Primary metrics from sums over images, without the tasks: they are the tasks' own."""

from __future__ import annotations

import inspect
import math
from typing import get_origin

import numpy as np
import pytest
import torch

from mtlbench import tasks
from mtlbench.statistics.image_metrics import PRIMARY
from mtlbench.tasks.meter import Meter
from tests.tasks.task_cases import CASES, Case

IMAGES = 12


def test_every_kind_of_task_has_its_metric() -> None:
    # `dict[str, str]` passes for a class on Python 3.10, and `issubclass` refuses it.
    plain = [value for value in vars(tasks).values() if inspect.isclass(value) and get_origin(value) is None]
    classes = [value for value in plain if issubclass(value, tasks.Task)]
    kinds = {cls.kind for cls in classes if not inspect.isabstract(cls)}
    assert set(PRIMARY) == kinds == {case.task.kind for case in CASES.values()}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("invalid", [0.0, 0.3])
def test_the_metric_is_the_tasks(name: str, invalid: float) -> None:
    case = CASES[name]
    target = case.targets(IMAGES, invalid=invalid)
    expected, images = measured(case, target)
    totals = {statistic: array.sum(axis=0) for statistic, array in images.items()}
    assert PRIMARY[case.task.kind](totals) == pytest.approx(expected, rel=1e-12)
    # As a bootstrap draws them: some images twice, some never, as floats.
    counts = np.arange(IMAGES) % 3
    weighted = {statistic: np.tensordot(counts.astype(float), array, axes=1) for statistic, array in images.items()}
    drawn = torch.repeat_interleave(torch.arange(IMAGES), torch.as_tensor(counts))
    assert PRIMARY[case.task.kind](weighted) == pytest.approx(measured(case, target, drawn)[0], rel=1e-6)


@pytest.mark.parametrize("name", list(CASES))
def test_without_a_label_it_is_undefined(name: str) -> None:
    case = CASES[name]
    value, images = measured(case, case.unlabelled(IMAGES))
    assert math.isnan(value)
    assert math.isnan(PRIMARY[case.task.kind]({statistic: array.sum(axis=0) for statistic, array in images.items()}))


def measured(case: Case, target: torch.Tensor, images: torch.Tensor | None = None) -> tuple[float, dict[str, np.ndarray]]:
    """The task's own primary metric of the images chosen, and the statistics of every one."""
    prediction = case.predictions(target)
    meter = Meter(case.task, keep_images=True)
    chosen = torch.arange(len(target)) if images is None else images
    meter.update(prediction[chosen], target[chosen])
    return meter.compute()[case.task.primary.name], meter.images()
