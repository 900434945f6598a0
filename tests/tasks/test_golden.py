"""Metrics and losses against official implementations and float64 computations by hand (metrics.npz)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mtlbench.tasks import Boundaries, Depth, Normals, Saliency, Segmentation, Task
from mtlbench.tasks.meter import Meter

F64, F32 = 1e-6, 1e-5

Golden = dict[str, NDArray[Any]]


def tensor(array: ArrayLike, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(np.array(array)).to(dtype)


def labels(array: NDArray[Any], dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.from_numpy(np.where(array < 0, 255, array)).to(dtype)


def metrics(task: Task, prediction: Tensor, target: Tensor) -> dict[str, float]:
    meter = Meter(task)
    for p, t in zip(prediction.split(2), target.split(2), strict=True):
        meter.update(p, t)
    return meter.compute()


def loss_and_gradient(task: Task, prediction: Tensor, target: Tensor) -> tuple[float, NDArray[Any]]:
    prediction = prediction.clone().requires_grad_()
    loss = task.loss(prediction, target)
    loss.backward()
    assert prediction.grad is not None
    return loss.item(), prediction.grad.numpy()


def near(expected: object, tolerance: float) -> object:
    return pytest.approx(expected, abs=tolerance, rel=tolerance)


@pytest.mark.parametrize("kind", ["random", "gaps", "perfect", "ignored_image"])
def test_segmentation(golden: Golden, kind: str) -> None:
    predicted, target = golden[f"seg/{kind}/pred"], golden[f"seg/{kind}/gt"]
    classes = len(golden[f"seg/{kind}/hand_iou_nan_if_absent"])
    logits = torch.nn.functional.one_hot(torch.from_numpy(predicted).long(), classes).movedim(-1, 1).float()
    measured = metrics(Segmentation("s", classes), logits, labels(target))
    assert measured["miou"] == near(golden[f"seg/{kind}/hand_miou_gt_present"], F64)
    assert measured["pixel_accuracy"] == near(golden[f"seg/{kind}/hand_pixacc"], F64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, F64), (torch.float32, F32)])
def test_depth(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    measured = metrics(Depth("d"), tensor(golden["depth/pred"], dtype), tensor(golden["depth/gt"], dtype))
    absolute, relative, _, rmse = golden["depth/hand_abs_rel_sqrel_rmse"]
    assert (measured["abs_err"], measured["rel_err"], measured["rmse"]) == near((absolute, relative, rmse), tolerance)
    assert [measured[f"delta{k}"] for k in (1, 2, 3)] == near(golden["depth/hand_delta123_negative_is_wrong"], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, F64), (torch.float32, F32)])
def test_normals(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    prediction, target = golden["normals/pred_unnormalised"], golden["normals/gt_zero_is_invalid"]
    measured = metrics(Normals("n"), tensor(prediction, dtype), tensor(target, dtype))
    mean, median, _, *within = golden["normals/hand_mean_median_rmse_1125_225_30"]
    assert measured["mean_angle"] == near(mean, tolerance)
    assert measured["median_angle"] == pytest.approx(median, abs=1e-3)
    assert [100 * measured[f"within_{k}"] for k in (11, 22, 30)] == near(within, tolerance)


def test_saliency(golden: Golden) -> None:
    measured = metrics(Saliency("s"), tensor(golden["sal/logits"])[:, None], labels(golden["sal/gt"])[:, None])
    assert (measured["max_f"], measured["miou"]) == near(tuple(golden["sal/hand_maxF_miou_float_scores"]), F64)


@pytest.mark.parametrize(("weight", "key"), [(0.95, "0.95"), (None, "batch_ratio")])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, F64), (torch.float32, F32)])
def test_boundary_loss(golden: Golden, weight: float | None, key: str, dtype: torch.dtype, tolerance: float) -> None:
    logits, target = tensor(golden["edge/logits"], dtype), labels(golden["edge/gt"])
    loss, gradient = loss_and_gradient(Boundaries("b", weight), logits, target)
    assert loss == near(golden[f"edge/pos_weight_{key}/loss"], tolerance)
    np.testing.assert_allclose(gradient, golden[f"edge/pos_weight_{key}/grad"], atol=tolerance, rtol=tolerance)


def test_libmtl_losses(golden: Golden) -> None:
    """First batch of two images, where LibMTL's definitions are ours."""
    normals = golden["normals/gt_zero_is_invalid"][:2]
    # LibMTL takes a normal whose components sum to 0 for an invalid one: our mask can only be given the same.
    normals = normals * (normals.sum(1, keepdims=True) != 0)
    cases = {
        "seg": (
            Segmentation("s", 7),
            golden["adashare/seg_logits"][:2],
            labels(golden["adashare/seg_gt_minus1_ignored"][:2]),
        ),
        "depth": (Depth("d"), golden["depth/pred"][:2], tensor(golden["depth/gt"][:2])),
        "normals": (Normals("n"), golden["normals/pred_unnormalised"][:2], tensor(normals)),
    }
    for name, (task, prediction, target) in cases.items():
        loss, gradient = loss_and_gradient(task, tensor(prediction), target)
        assert loss == near(golden[f"loss/libmtl_{name}"], F64), name
        expected = golden[f"loss/libmtl_{name}_grad"]
        np.testing.assert_allclose(gradient, expected, atol=F64 * np.abs(expected).max(), rtol=F64, err_msg=name)
