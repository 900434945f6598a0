"""Taskonomy, from small trees in exactly its layouts; and the two kinds of task it brings."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.sample_sheet import draw_samples
from mtlbench.data.sample_validation import validate_sample
from mtlbench.data.store import prepare
from mtlbench.datasets.taskonomy import PLACES, Taskonomy
from mtlbench.datasets.taskonomy.tasks import LogDepth, Magnitude
from mtlbench.errors import UserError

SIDE = 32
BUILDINGS = {"allensville": "1,0,0", "beechwood": "1,0,0", "corozal": "0,1,0", "darden": "0,0,1", "elsewhere": "0,0,0"}
VIEWS = ((0, 3), (12, 0))


def dataset(root: Path, **options: object) -> Taskonomy:
    return Taskonomy(root, Taskonomy.configure({"size": SIDE, **options}, "taskonomy"))


def raw(seed: int) -> dict[str, np.ndarray]:
    """What the files hold; normals are stored as x, z, y."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(300, 5000, (SIDE, SIDE)).astype(np.uint16)
    depth[0] = 64500
    depth[1] = 65535
    normals = rng.normal(size=(3, SIDE, SIDE))
    normals[1] = np.abs(normals[1]) + 0.5
    normals /= np.linalg.norm(normals, axis=0)
    return {
        "rgb": rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8),
        "segmentsemantic": rng.integers(0, 18, (SIDE, SIDE)).astype(np.uint8),
        "normal": np.rint((normals.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8),
        "depth_zbuffer": depth,
        "keypoints2d": rng.integers(0, 700, (SIDE, SIDE)).astype(np.uint16),
        "edge_texture": rng.integers(0, 9000, (SIDE, SIDE)).astype(np.uint16),
    }


def write(root: Path, place: str = PLACES[1]) -> Path:
    for number, building in enumerate(BUILDINGS):
        for view, (point, angle) in enumerate(VIEWS):
            for word, array in raw(10 * number + view).items():
                domain = "segment_semantic" if word == "segmentsemantic" else word
                folder = root / place.format(domain=domain, building=building)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / f"point_{point}_view_{angle}_domain_{word}.png")
    rows = [f"{building},{flags}" for building, flags in BUILDINGS.items()]
    (root / "train_val_test_tiny.csv").write_text("\n".join(["id,train,val,test", *rows]) + "\n")
    return root


@pytest.mark.parametrize("place", PLACES)
def test_layouts_splits_and_encodings(tmp_path: Path, place: str) -> None:
    source = dataset(write(tmp_path / "taskonomy", place).parent)
    index = source.index()
    assert index["train"] == [(name, *view) for name in ("allensville", "beechwood") for view in VIEWS]
    assert index["val"] == [("corozal", *view) for view in VIEWS] and index["test"][0] == ("darden", 0, 3)
    assert source.scene(index["val"][0]) == "corozal" and len(source.files()) == 1 + 8 * 6
    sample, stored = source.load(("beechwood", 12, 0)), raw(11)
    validate_sample(sample, source.tasks, source.image_size)
    assert np.array_equal(sample["image"], stored["rgb"])
    label = stored["segmentsemantic"].astype(int)
    assert np.array_equal(sample["segmentation"], np.where(label == 0, 255, label - 1))
    hole = stored["depth_zbuffer"] >= 64500
    expected = np.log(1 + stored["depth_zbuffer"].astype(float)) / np.log(2.0**16)
    assert np.allclose(sample["depth"][0], np.where(hole, 0, expected), atol=1e-6)
    assert np.array_equal((sample["normals"] == 0).all(0), hole)
    vectors = stored["normal"].transpose(2, 0, 1)[[0, 2, 1]] / 127.5 - 1  # the one-sided channel comes last
    cosine = (vectors * sample["normals"]).sum(0) / np.linalg.norm(vectors, axis=0)
    assert cosine[~hole].min() > 0.9999
    for task, word, clip in (("keypoints", "keypoints2d", 0.005), ("edges", "edge_texture", 0.08)):
        assert np.allclose(sample[task][0], np.clip(stored[word] / 2**16, 0, clip) / clip * 2 - 1, atol=1e-6)
        assert sample[task].min() >= -1 and sample[task].max() <= 1
    assert [task.weight for task in source.tasks] == [1, 3, 2, 7, 7]


def test_tasks_and_metres_can_be_chosen(tmp_path: Path) -> None:
    source = dataset(write(tmp_path), tasks_used=("depth",), depth="metres")
    sample, stored = source.load(("corozal", 0, 3)), raw(20)
    assert set(sample) == {"image", "depth"}
    assert np.allclose(sample["depth"][0, 2:], stored["depth_zbuffer"][2:] / 512)


def test_it_is_prepared_and_drawn(tmp_path: Path) -> None:
    prepared = prepare(dataset(write(tmp_path / "raw")), "taskonomy", tmp_path / "cache")
    draw_samples(prepared, tmp_path / "sheet.png", per_split=1)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("word", "change", "message"),
    [
        ("rgb", lambda array: array[..., 0], "expected RGB"),
        ("segmentsemantic", lambda array: array + np.uint8(20), "raw labels from 20"),
        ("edge_texture", lambda array: array[:9], r"shape \[9, 32\]"),
        ("depth_zbuffer", None, "is missing"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, word: str, change: Callable[[np.ndarray], np.ndarray] | None, message: str
) -> None:
    root = write(tmp_path)
    domain = "segment_semantic" if word == "segmentsemantic" else word
    path = root / domain / "beechwood" / f"point_0_view_3_domain_{word}.png"
    path.unlink()
    if change is not None:
        Image.fromarray(change(raw(10)[word])).save(path)
    with pytest.raises(BadSample, match=message) as caught:
        dataset(root).load(("beechwood", 0, 3))
    assert str(path) in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="taskonomy was not found"):
        dataset(tmp_path).index()
    root = write(tmp_path)
    with pytest.raises(UserError, match=r"train_val_test_medium\.csv is missing \(it says which buildings"):
        dataset(root, split="medium").index()
    (root / "train_val_test_tiny.csv").write_text("id,train,val,test\nnowhere,1,0,0\n")
    with pytest.raises(UserError, match="the images of nowhere"):
        dataset(root).index()
    (root / "train_val_test_tiny.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no columns id, train, val and test"):
        dataset(root).index()


def test_log_depth_under_a_zoom_is_that_of_the_divided_depth() -> None:
    metres = torch.tensor([[[[700.0, 4000.0]]], [[[700.0, 0.0]]]])
    target = torch.log1p(metres) / math.log(2**16)
    zoom = torch.tensor([1.5, 1.0])
    moved = LogDepth("depth").augmented(target, zoom, torch.zeros(2, dtype=torch.bool))
    expected = torch.log1p(metres / zoom.reshape(-1, 1, 1, 1)) / math.log(2**16)
    assert torch.allclose(moved, expected, atol=1e-5) and torch.equal(moved[1], target[1])


def test_magnitude_is_a_pooled_absolute_error_against_the_median() -> None:
    task = Magnitude("edges")
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 1, 6, 5, generator=generator) * 2 - 1
    target[0, 0, 0] = torch.nan
    target[3] = torch.nan
    prediction = torch.randn(4, 1, 6, 5, generator=generator, requires_grad=True)
    valid = target.isfinite()
    error = (prediction - target)[valid].abs()
    assert torch.allclose(task.loss(prediction, target), error.mean())
    task.loss(prediction, target).backward()
    assert prediction.grad is not None and not prediction.grad[~valid].any()
    totals = {name: value.sum(0) for name, value in task.statistics(prediction.detach(), target).items()}
    assert task.summarise(totals)["abs_err"] == pytest.approx(float(error.detach().mean()), rel=1e-6)
    assert task.valid(target).tolist() == [True, True, True, False]
    assert task.fit_constant([target.numpy()])[0] == pytest.approx(float(target[valid].median()), abs=0.04)
    assert task.fit_constant([np.full((2, 1, 3, 3), -1.0)]) == [-1]
    with pytest.raises(UserError, match="no training image"):
        task.fit_constant([np.full((2, 1, 3, 3), np.nan)])
    none = task.loss(prediction, torch.full_like(target, torch.nan))
    assert none == 0 and none.requires_grad
