"""What is particular to one kind of task: definitions of metrics, edge cases, moves, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor
from torchmetrics import functional as reference

from mtlbench.errors import UserError
from mtlbench.tasks import (
    Attributes,
    Boundaries,
    Classification,
    Depth,
    Normals,
    Reconstruction,
    Saliency,
    Segmentation,
    Task,
)
from mtlbench.tasks.attributes import average_precision
from mtlbench.tasks.meter import Meter


def score(task: Task, prediction: Tensor, target: Tensor) -> dict[str, float]:
    meter = Meter(task)
    meter.update(prediction, target)
    return meter.compute()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# Segmentation


def test_segmentation_agrees_with_torchmetrics(generator: torch.Generator) -> None:
    logits = torch.randn((6, 5, 9, 8), generator=generator)
    target = torch.randint(5, (6, 9, 8), generator=generator).to(torch.uint8)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    measured = score(Segmentation("s", 5), logits, target)
    miou = reference.jaccard_index(logits, target.long(), task="multiclass", num_classes=5, ignore_index=255)
    accuracy = reference.accuracy(logits, target.long(), task="multiclass", num_classes=5, ignore_index=255, average="micro")
    assert measured["miou"] == pytest.approx(miou.item(), abs=1e-6)
    assert measured["pixel_accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)


def test_class_absent_from_labels_is_left_out_and_a_missed_one_counts_0() -> None:
    task, target = Segmentation("s", 4), torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    # Class 0 is found, class 1 never predicted, class 2 predicted without being there, class 3 nowhere.
    predicted = torch.tensor([[[0, 0, 2, 2]]])
    logits = torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1).float()
    assert score(task, logits, target) == {"miou": 0.5, "pixel_accuracy": 0.5}


def test_logits_that_are_nan_are_wrong_for_every_class() -> None:
    target = torch.tensor([[[0, 1, 2, 0]]], dtype=torch.uint8)
    logits = torch.full((1, 3, 1, 4), math.nan)
    logits[0, :, 0, 3] = torch.tensor([math.inf, 0, -math.inf])
    assert score(Segmentation("s", 3), logits, target)["pixel_accuracy"] == 0.25
    assert score(Classification("c", 3), torch.full((1, 3), math.nan), torch.tensor([0], dtype=torch.int16))["accuracy"] == 0


def test_segmentation_ignores_its_own_index() -> None:
    target = torch.tensor([[[0, 1, 9]]], dtype=torch.uint8)
    task = Segmentation("s", 2, ignore=9)
    assert task.invalid == 9 and Segmentation.invalid == 255
    assert score(task, torch.tensor([[[[1.0, 0, 5]], [[0.0, 1, 0]]]]), target)["pixel_accuracy"] == 1


def test_constants_are_majorities() -> None:
    assert Segmentation("s", 3).fit_constant([np.array([[[0, 2, 2, 255, 255, 255]]], np.uint8)]) == [2.0]
    assert Classification("c", 3).fit_constant([np.array([1, -1, -1], np.int16), np.array([1, 2, -1], np.int16)]) == [1.0]
    assert Attributes("a", 3).fit_constant([np.array([[1, 0, -1], [1, 1, -1], [0, -1, 1]], np.int8)]) == [1.0, 0.0, 1.0]


# Depth


def test_depth_zoom_divides_depth_and_multiplies_its_inverse() -> None:
    target, zoom = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([4.0])
    still = torch.tensor([False])
    assert Depth("d").augmented(target, zoom, still).tolist() == [[[[0.5, 0.0]]]]
    assert Depth("d", inverse=True).augmented(target, zoom, still).tolist() == [[[[8.0, 0.0]]]]


def test_depth_mask_and_negative_predictions() -> None:
    target = torch.tensor([[[[1.0, 1.0, 0.0, -1.0, math.nan, math.inf]]]])
    measured = score(Depth("d", unit="m"), torch.tensor([[[[-1.0, 1.0, 9.0, 9.0, 9.0, 9.0]]]]), target)
    assert measured == {"abs_err": 1.0, "rel_err": 1.0, "rmse": 2**0.5, "delta1": 0.5, "delta2": 0.5, "delta3": 0.5}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 80.0, 1e6])
@pytest.mark.parametrize("count", [1, 2, 1000, 999])
def test_depth_constant_is_the_median(scale: float, count: int, generator: torch.Generator) -> None:
    values = (torch.randn(count, generator=generator).exp() * scale).numpy()
    stored = np.concatenate([values, np.zeros(500, np.float32), np.array([np.nan, np.inf, -3], np.float32)])
    rng = np.random.default_rng(0)
    chunks = np.array_split(rng.permutation(stored).reshape(-1, 1, 1, 1), 7)
    (median,) = Depth("d").fit_constant(iter(chunks))
    assert median == pytest.approx(np.median(values.astype(np.float64)), rel=4e-5)


# Normals


def test_angles_are_exact_near_0_and_180() -> None:
    down = torch.tensor([0.0, 0.0, 1.0])
    tilts = torch.tensor([0.0, 1e-4, 1e-2, 11.25, 90.0, 179.99, 180.0], dtype=torch.float64).deg2rad()
    vectors = torch.stack([tilts.sin(), torch.zeros_like(tilts), tilts.cos()]).float()
    for tilt, vector in zip(tilts, vectors.T, strict=True):
        measured = score(Normals("n"), 7 * vector.reshape(1, 3, 1, 1), down.reshape(1, 3, 1, 1))
        assert measured["mean_angle"] == pytest.approx(tilt.rad2deg().item(), abs=2e-5)
    assert score(Normals("n"), torch.zeros(1, 3, 1, 1), down.reshape(1, 3, 1, 1))["mean_angle"] == 90


@pytest.mark.parametrize(("name", "limit"), [("within_11", 11.25), ("within_22", 22.5), ("within_30", 30.0)])
def test_angle_limits(name: str, limit: float) -> None:
    tilts = torch.tensor([limit - 5e-4, limit + 5e-4], dtype=torch.float64).deg2rad()
    prediction = torch.stack([tilts.sin(), torch.zeros(2), tilts.cos()]).reshape(1, 3, 1, 2)
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    assert score(Normals("n"), prediction, target)[name] == 0.5


@pytest.mark.parametrize("count", [1, 2, 30, 31])
def test_median_angle(count: int, generator: torch.Generator) -> None:
    task = Normals("n")
    prediction, target = (torch.randn((count, 3, 1, 1), generator=generator, dtype=torch.float64) for _ in range(2))
    angles = torch.rad2deg(torch.acos(torch.cosine_similarity(prediction, target, dim=1))).numpy()
    meter = Meter(task, keep_images=True)
    meter.update(prediction, target)
    assert meter.compute()["median_angle"] == pytest.approx(np.median(angles), abs=5e-4)
    coarse = {name: torch.as_tensor(value.sum(0, dtype=np.float64)) for name, value in meter.images().items()}
    assert task.summarise(coarse)["median_angle"] == pytest.approx(np.median(angles), abs=1)


def test_normals_turn_as_the_surface_does() -> None:
    """A plane seen through a zoom: normals from the zoomed depth are the zoomed normals."""

    def normal(slope_x: float, slope_y: float) -> Tensor:  # of the surface z = slope_x x + slope_y y + 1, towards the camera
        return torch.nn.functional.normalize(torch.tensor([slope_x, slope_y, -1.0]), dim=0)

    # Under zoom s, depth z/s over the same rays is the surface with x, y kept and z/s: slopes shrink by s.
    s = 1.5
    turned = Normals("n").augmented(normal(0.3, -0.8).reshape(1, 3, 1, 1), torch.tensor([s]), torch.tensor([False]))
    torch.testing.assert_close(turned.flatten(), normal(0.3 / s, -0.8 / s))
    mirrored = Normals("n").augmented(normal(0.3, -0.8).reshape(1, 3, 1, 1), torch.tensor([1.0]), torch.tensor([True]))
    torch.testing.assert_close(mirrored.flatten(), normal(-0.3, -0.8))


def test_normals_whose_components_cancel_are_valid() -> None:
    assert Normals("n").valid(torch.tensor([0.6, -0.6, 0.0]).reshape(1, 3, 1, 1)).item()


def test_normals_constant_is_the_mean_direction() -> None:
    chunk = np.zeros((1, 3, 1, 4), np.float32)
    chunk[0, :, 0, 0], chunk[0, :, 0, 1] = (1, 0, 0), (0, 0, 1)
    assert Normals("n").fit_constant([chunk, chunk]) == pytest.approx([0.5**0.5, 0, 0.5**0.5])
    chunk[0, :, 0, 1] = (-1, 0, 0)
    assert Normals("n").fit_constant([chunk]) == [0.0, 0.0, 1.0]


# Boundaries and saliency


def test_max_f_agrees_with_sklearn(generator: torch.Generator) -> None:
    logits = torch.randn((5, 1, 8, 8), generator=generator, dtype=torch.float64)
    target = (torch.rand(logits.shape, generator=generator) < 0.2).to(torch.uint8)
    scores = logits.sigmoid().numpy()
    by_threshold = [sklearn_metrics.f1_score(target.flatten(), (scores >= k / 100).ravel()) for k in range(1, 100)]
    assert score(Boundaries("b"), logits, target)["max_f"] == pytest.approx(max(by_threshold), abs=1e-12)


def test_everything_positive_scores_the_base_rate() -> None:
    target = torch.tensor([[[[1, 0, 0, 0, 255]]]], dtype=torch.uint8)
    task = Boundaries("b")
    assert score(task, task.constant_prediction([1.0], target), target)["max_f"] == pytest.approx(2 * 0.25 / 1.25)


def test_boundaries_without_positive_labels_are_undefined() -> None:
    for logit in (-9.0, 0.0, 9.0):
        measured = score(Boundaries("b"), torch.full((1, 1, 2, 2), logit), torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
        assert math.isnan(measured["max_f"])


def test_saliency_of_an_empty_image_found_empty_is_1() -> None:
    empty = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    assert score(Saliency("s"), torch.full((1, 1, 2, 2), -9.0), empty)["miou"] == 1
    assert score(Saliency("s"), torch.full((1, 1, 2, 2), 9.0), empty)["miou"] == 0


@pytest.mark.parametrize(
    ("kind", "off", "on"),
    [(Saliency, 0.19, 0.21), (Saliency, 0.89, 0.91), (Boundaries, 0.005, 0.015), (Boundaries, 0.985, 0.995)],
)
def test_outermost_thresholds_separate(kind: type[Saliency] | type[Boundaries], off: float, on: float) -> None:
    logits = torch.tensor([[[[off, on]]]]).logit()
    task, target = kind("k"), torch.tensor([[[[0, 1]]]], dtype=torch.uint8)
    assert score(task, logits, target)[task.primary.name] == 1
    # Beyond the outermost threshold nothing is separated: everything is positive, or nothing is.
    beyond = torch.tensor([[[[off, on]]]]) + (-0.02 if off < 0.5 else 0.02)
    assert score(task, beyond.clamp(1e-6, 1 - 1e-6).logit(), target)[task.primary.name] < 1


# Image-level kinds


def test_attributes_agree_with_sklearn_and_torchmetrics(generator: torch.Generator) -> None:
    # Coarse scores, so that many are equal.
    logits = (torch.randn((60, 5), generator=generator) * 2).round() / 2
    target = (torch.rand((60, 5), generator=generator) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])).to(torch.int8)
    target[torch.rand(target.shape, generator=generator) < 0.2] = -1
    expected: dict[str, list[float]] = {name: [] for name in ("accuracy", "balanced_accuracy", "f1", "ap")}
    for x, y in zip(logits.T, target.T, strict=True):
        x, y = x[y >= 0], y[y >= 0]
        yes = (x > 0).int()
        expected["accuracy"].append(sklearn_metrics.accuracy_score(y, yes))
        expected["balanced_accuracy"].append(sklearn_metrics.balanced_accuracy_score(y, yes))
        expected["f1"].append(sklearn_metrics.f1_score(y, yes))
        expected["ap"].append(sklearn_metrics.average_precision_score(y, x))
        ap = reference.average_precision(x, y.long(), task="binary")
        assert isinstance(ap, Tensor) and expected["ap"][-1] == pytest.approx(ap.item(), abs=1e-6)
    measured = score(Attributes("a", 5), logits, target)
    assert measured == pytest.approx({name: np.mean(values) for name, values in expected.items()}, abs=1e-9)
    shuffled = torch.randperm(60, generator=generator)
    assert score(Attributes("a", 5), logits[shuffled], target[shuffled]) == pytest.approx(measured, abs=1e-12)


def test_attributes_with_one_class_or_no_label() -> None:
    # Attribute 0 has both classes, 1 only yes, 2 only no, 3 no label.
    target = torch.tensor([[1, 1, 0, -1], [0, 1, 0, -1]], dtype=torch.int8)
    measured = score(Attributes("a", 4), torch.tensor([[1.0, 1, 1, 1], [-1.0, -1, -1, 1]]), target)
    assert measured == pytest.approx({
        "accuracy": (1 + 0.5 + 0.5) / 3, "balanced_accuracy": (1 + 0.5 + 0.5) / 3, "f1": (1 + 2 / 3) / 2, "ap": 1.0,
    })  # fmt: skip


def test_average_precision_of_equal_scores_is_the_base_rate() -> None:
    labels = torch.tensor([[1], [0], [0], [1], [-1]], dtype=torch.int8)
    assert average_precision(torch.zeros(5, 1), labels).tolist() == [0.5]


def test_reconstruction_of_bytes_is_on_the_scale_of_0_to_1() -> None:
    task, image = Reconstruction("x"), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert score(task, torch.full((1, 3, 2, 2), 0.5), image) == {"mse": 0.25}
    assert task.loss(torch.full((1, 3, 2, 2), 0.5), image) == 0.25
    assert task.fit_constant([image.numpy(), np.zeros((1, 3, 2, 2), np.uint8)]) == [0.5, 0.5, 0.5]


# Refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Segmentation("s", 3, classes=("a", "b")), "names 2 classes but has 3 channels"),
        (lambda: Segmentation("s", 3, ignore=2), "ignore = 2 must lie above"),
        (lambda: Segmentation("s", 3, ignore=256), "fit uint8"),
        (lambda: Attributes("a", 3, names=("x",)), "names 1 attributes but has 3 channels"),
        (lambda: Boundaries("b", positive_weight=1.0), r"positive_weight = 1.0 must lie in \(0, 1\)"),
    ],
)
def test_mistakes_are_refused(make: Callable[[], Task], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
