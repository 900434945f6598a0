"""The meter as a streaming metric, and skill."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from mtlbench.tasks import Classification, Depth, Normals, Segmentation, mean_skill, skill
from mtlbench.tasks.meter import Meter
from tests.tasks.task_cases import Case


def test_predictions_are_resized_to_the_labels() -> None:
    target = torch.ones(2, 1, 8, 12)
    coarse = torch.rand(2, 1, 4, 3)
    fine = torch.nn.functional.interpolate(coarse, size=(8, 12), mode="bilinear", align_corners=False)
    resizing, plain = Meter(Depth("d")), Meter(Depth("d"))
    resizing.update(coarse, target)
    plain.update(fine, target)
    assert resizing.compute() == plain.compute()


def test_reset_pickle_and_copy(case: Case) -> None:
    target = case.targets(6)
    prediction = case.predictions(target)
    meter = Meter(case.task, keep_images=True)
    meter.update(prediction, target)
    metrics = meter.compute()
    for other in (pickle.loads(pickle.dumps(meter)), copy.deepcopy(meter)):
        other.update(prediction[:0], target[:0])  # drops the cached result
        assert other.compute() == metrics
    meter.reset()
    assert meter.images().keys() and all(len(value) == 0 for value in meter.images().values())
    meter.update(prediction, target)
    assert meter.compute() == metrics


def test_compute_may_be_asked_in_between(case: Case) -> None:
    target = case.targets(8)
    prediction = case.predictions(target)
    meter, whole = Meter(case.task), Meter(case.task)
    meter.update(prediction[:5], target[:5])
    meter.compute()
    meter.update(prediction[5:], target[5:])
    whole.update(prediction, target)
    assert meter.compute() == pytest.approx(whole.compute(), rel=1e-7, nan_ok=True)


def test_forward_gives_the_batch_and_keeps_the_set(case: Case) -> None:
    target = case.targets(8)
    prediction = case.predictions(target)
    meter, first, whole = Meter(case.task), Meter(case.task), Meter(case.task)
    batch = meter(prediction[:5], target[:5])
    first.update(prediction[:5], target[:5])
    assert batch == pytest.approx(first.compute(), rel=1e-7, nan_ok=True)
    meter(prediction[5:], target[5:])
    whole.update(prediction, target)
    assert meter.compute() == pytest.approx(whole.compute(), rel=1e-7, nan_ok=True)


def test_images_are_compact_and_in_order() -> None:
    meter = Meter(Classification("c", 3), keep_images=True)
    meter.update(torch.eye(3), torch.tensor([0, 1, -1], dtype=torch.int16))
    meter.update(torch.eye(3), torch.tensor([1, 1, 2], dtype=torch.int16))
    images = meter.images()
    assert images["correct"].tolist() == [1, 1, 0, 0, 1, 1] and images["correct"].dtype == np.uint8
    big = Meter(Segmentation("s", 2), keep_images=True)
    big.update(torch.zeros(1, 2, 20, 20), torch.zeros(1, 20, 20, dtype=torch.uint8))
    assert big.images()["tp"].tolist() == [[400, 0]] and big.images()["tp"].dtype == np.uint16
    with pytest.raises(RuntimeError, match="keep_images=True"):
        Meter(Classification("c", 3)).images()


def test_nothing_is_kept_per_pixel() -> None:
    meter = Meter(Normals("n"), keep_images=True)
    meter.update(torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64))
    assert sum(value[0].nbytes for value in meter.images().values()) < 500


def test_empty_batch_changes_nothing(case: Case) -> None:
    target = case.targets(4)
    prediction = case.predictions(target)
    one, two = Meter(case.task, keep_images=True), Meter(case.task, keep_images=True)
    one.update(prediction, target)
    two.update(prediction, target)
    two.update(prediction[:0], target[:0])
    assert one.compute() == two.compute()
    assert case.task.loss(prediction[:0], target[:0]) == 0


def test_skill() -> None:
    assert skill(0.7, 0.4, 1.0) == pytest.approx(0.5)  # higher is better
    assert skill(5.0, 20.0, 0.0) == pytest.approx(0.75)  # lower is better
    assert skill(0.4, 0.4, 1.0) == 0 and skill(1.0, 0.4, 1.0) == 1
    assert skill(1e9, 20.0, 0.0) == -1
    assert skill(math.nan, 0.4, 1.0) == skill(math.inf, 20.0, 0.0) == skill(-math.inf, 20.0, 0.0) == -1
    assert skill(0.5, 1.0, 1.0) is None and skill(math.nan, 0.0, 0.0) is None and skill(0.5, math.nan, 1.0) is None


def test_mean_skill_leaves_out_tasks_without_one() -> None:
    assert mean_skill({"a": 0.5, "b": None, "c": -1.0}) == -0.25
    assert math.isnan(mean_skill({"a": None})) and math.isnan(mean_skill({}))
