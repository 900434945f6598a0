"""What every kind of task must do, whatever it predicts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.tasks import Task, skill
from mtlbench.tasks.meter import Meter
from tests.tasks.task_cases import Case

SIZES = (1, 4, 3, 4)
# Where an element lies in a batch decides if a vector instruction or the loop's rest computes it: one float32 bit.
ROUNDING = 1e-7


def measured(
    task: Task, prediction: Tensor, target: Tensor, sizes: Sequence[int] = ()
) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
    """Metrics of a set cut into batches of these sizes (one batch by default), and the statistics of every image."""
    meter = Meter(task, keep_images=True)
    cut = list(sizes) or [len(target)]
    for p, t in zip(prediction.split(cut), target.split(cut), strict=True):
        meter.update(p, t)
    return meter.compute(), meter.images()


def assert_metrics(metrics: Mapping[str, float], other: Mapping[str, float], tolerance: float = ROUNDING) -> None:
    assert metrics.keys() == other.keys()
    for name in metrics:
        assert metrics[name] == pytest.approx(other[name], abs=tolerance, rel=tolerance, nan_ok=True), name


def test_declares_itself(case: Case) -> None:
    task = case.task
    names = [metric.name for metric in task.metrics]
    assert len(set(names)) == len(names) and task.primary in task.metrics
    target = case.targets(2)
    assert target.shape[1:] == task.target_shape(*(target.shape[-2:] if task.dense else (9, 9)))
    assert np.dtype(task.dtype) == target.numpy().dtype
    metrics, _ = measured(task, case.predictions(target), target)
    assert list(metrics) == names and all(isinstance(value, float) for value in metrics.values())
    described = task.describe()
    assert described["loss"].endswith(".") and json.loads(json.dumps(described)) == described


def test_perfect_prediction_is_perfect(case: Case) -> None:
    target = case.targets(12)
    metrics, _ = measured(case.task, case.perfect(target).nan_to_num(), target)
    for metric in case.task.metrics:
        assert metrics[metric.name] == pytest.approx(metric.perfect, abs=1e-9), metric.name


def test_batching_changes_nothing(case: Case) -> None:
    target = case.targets(sum(SIZES))
    prediction = case.predictions(target)
    whole, images = measured(case.task, prediction, target)
    cut, cut_images = measured(case.task, prediction, target, SIZES)
    assert_metrics(whole, cut)
    for name, value in images.items():
        np.testing.assert_allclose(cut_images[name], value, rtol=ROUNDING)


def test_order_of_images_changes_nothing(case: Case) -> None:
    target = case.targets(12)
    prediction = case.predictions(target)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    whole, images = measured(case.task, prediction, target)
    mixed, mixed_images = measured(case.task, prediction[order], target[order])
    assert_metrics(whole, mixed)
    for name, value in images.items():
        np.testing.assert_allclose(mixed_images[name], value[order.numpy()], rtol=ROUNDING)


def test_metrics_come_from_the_sums_of_images(case: Case) -> None:
    """So that a bootstrap can add up the images it drew: exact but for what needs more than sums."""
    target = case.targets(12)
    metrics, images = measured(case.task, case.predictions(target), target)
    summed = case.task.summarise({name: torch.as_tensor(value.sum(0, dtype=np.float64)) for name, value in images.items()})
    if "median_angle" in metrics:
        assert abs(metrics.pop("median_angle") - summed.pop("median_angle")) < 1
    if "ap" in metrics:
        assert math.isnan(summed.pop("ap")) and metrics.pop("ap") > 0
    assert_metrics(metrics, summed)


def test_invalid_elements_never_matter(case: Case) -> None:
    target = case.targets(8)
    prediction = case.predictions(target)
    other = torch.where(case.invalid(target), torch.full_like(prediction, 1e6), prediction)
    assert not torch.equal(prediction, other)
    metrics, images = measured(case.task, prediction, target)
    other_metrics, other_images = measured(case.task, other, target)
    assert_metrics(metrics, other_metrics, 0)
    for name, value in images.items():
        np.testing.assert_array_equal(other_images[name], value)
    gradients = []
    for p in (prediction, other):
        p = p.clone().requires_grad_()
        with torch.autograd.set_detect_anomaly(True):  # NaN in no step of the way back either
            loss = case.task.loss(p, target)
            loss.backward()
        assert p.grad is not None
        gradients.append((loss.detach(), p.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])
    assert not gradients[0][1].masked_select(case.invalid(target).expand_as(prediction)).any()


def test_unlabelled_samples_contribute_nothing(case: Case) -> None:
    target = case.targets(6)
    prediction = case.predictions(target)
    metrics, _ = measured(case.task, prediction, target)
    more = torch.cat([case.unlabelled(3), target])
    extended, images = measured(case.task, torch.cat([prediction[:3] + 3, prediction]), more)
    assert_metrics(metrics, extended)
    assert all(not images[name][:3].any() for name in images)
    # An image-level sample whose only label was struck out is unlabelled too.
    assert case.task.valid(more).tolist() == [False] * 3 + case.task.valid(target).tolist()
    assert case.task.valid(case.targets(6, invalid=0)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_without_labels_has_no_loss_and_no_gradient(case: Case, dtype: torch.dtype) -> None:
    target = case.unlabelled(3)
    prediction = torch.randn(case.perfect(target).shape).to(dtype).requires_grad_()
    loss = case.task.loss(prediction, target)
    loss.backward()
    assert loss.item() == 0 and prediction.grad is not None and not prediction.grad.any()
    metrics, _ = measured(case.task, prediction.detach(), target)
    assert all(math.isnan(value) for value in metrics.values())


def test_empty_meter_has_no_metric(case: Case) -> None:
    meter = Meter(case.task, keep_images=True)
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(math.isnan(value) for value in meter.compute().values())
    assert all(len(value) == 0 for value in meter.images().values())


def test_loss_falls_towards_the_target(case: Case) -> None:
    target = case.targets(8, invalid=0)
    near = case.task.loss(case.perfect(target), target)
    far = case.task.loss(case.predictions(target), target)
    assert 0 <= near < far


def test_loss_gradient_is_that_of_the_loss(case: Case) -> None:
    target = case.targets(2)
    prediction = case.predictions(target).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: case.task.loss(p, target), prediction, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4])
def test_gradient_is_finite_far_from_the_target(case: Case, scale: float) -> None:
    target = case.targets(4)
    prediction = (case.predictions(target) * scale).requires_grad_()
    case.task.loss(prediction, target).backward()
    assert prediction.grad is not None and prediction.grad.isfinite().all()


def test_half_precision_predictions_are_scored_in_float32(case: Case) -> None:
    target = case.targets(6)
    half = case.predictions(target).bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = case.task.loss(half, target)
        metrics, _ = measured(case.task, half.detach(), target)
    loss.backward()
    reference = case.task.loss(full, target)
    reference.backward()
    assert loss.dtype == torch.float32 and torch.equal(loss, reference)
    assert half.grad is not None and full.grad is not None and torch.equal(half.grad, full.grad.bfloat16())
    assert_metrics(metrics, measured(case.task, full.detach(), target)[0], 0)


def test_nothing_is_read_back_from_the_device(case: Case) -> None:
    """Meta tensors have no values: any read of one raises."""
    target = case.targets(3).to("meta")
    prediction = case.predictions(case.targets(3)).to("meta").requires_grad_()
    case.task.loss(prediction, target).backward()
    meter = Meter(case.task, keep_images=True)
    meter.update(prediction.detach(), target)
    if case.task.dense:
        meter.update(prediction.detach()[..., ::2, ::2], target)


def test_constant_has_no_skill_and_perfect_has_all(case: Case) -> None:
    task, target = case.task, case.targets(20)
    constant = task.fit_constant(iter(target.numpy()[i : i + 6] for i in range(0, 20, 6)))
    assert json.loads(json.dumps(constant)) == constant
    prediction = task.constant_prediction(constant, target)
    assert prediction.shape == case.perfect(target).shape
    c = measured(task, prediction, target)[0][task.primary.name]
    assert skill(c, c, task.primary.perfect) == 0
    assert skill(task.primary.perfect, c, task.primary.perfect) == 1
    # No other sample of the labels does better as a constant, as far as the primary metric is what was fitted.
    if task.kind in ("depth", "reconstruction", "classification", "attributes"):
        better = [
            skill(measured(task, prediction + shift, target)[0][task.primary.name], c, task.primary.perfect)
            for shift in (-0.1, 0.1)
        ]
        assert all(value is not None and value <= 1e-4 for value in better)


def test_constant_needs_a_label(case: Case) -> None:
    from mtlbench.errors import UserError

    with pytest.raises(UserError, match=f"task '{case.task.name}': no training target is valid"):
        case.task.fit_constant([case.unlabelled(3).numpy()])


def test_mirrored_twice_is_unchanged(case: Case) -> None:
    target = case.targets(4)
    plain, flipped = torch.ones(4), torch.tensor([True, False, True, False])
    twice = case.task.augmented(case.task.augmented(target, plain, flipped), plain, flipped)
    assert torch.equal(torch.nan_to_num(twice.double(), nan=-7), torch.nan_to_num(target.double(), nan=-7))


def test_zoomed_back_is_unchanged_and_keeps_invalid(case: Case) -> None:
    target = case.targets(4)
    zoom, still = torch.tensor([1.0, 1.5, 0.7, 2.0]), torch.zeros(4, dtype=torch.bool)
    moved = case.task.augmented(target, zoom, still)
    assert moved.dtype == target.dtype and torch.equal(case.invalid(moved), case.invalid(target))
    back = case.task.augmented(moved, 1 / zoom, still)
    torch.testing.assert_close(back, target, equal_nan=True, atol=1e-6, rtol=1e-6)


def test_broken_prediction_is_never_good(case: Case) -> None:
    """A network that has diverged: NaN everywhere, and no crash."""
    target = case.targets(12)
    metrics, _ = measured(case.task, torch.full_like(case.predictions(target), torch.nan), target)
    good, _ = measured(case.task, case.perfect(target).nan_to_num(), target)
    name = case.task.primary.name
    assert math.isnan(metrics[name]) or abs(metrics[name] - good[name]) > 0.3
