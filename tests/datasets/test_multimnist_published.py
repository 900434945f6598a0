"""MultiMNIST composed as published code does, by options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mtlbench.datasets._shared.published_pairs import shrunk
from mtlbench.datasets.multimnist import MultiMNIST
from mtlbench.errors import UserError
from tests.datasets.test_digits import write_idx

PUBLISHED = {"offset": 6, "shrink": 28, "pairing": "left_in_order", "val_cut": "last"}
SIZES = {"train": 100, "val": 20, "test": 60}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("torchvision")
    write_idx(root / "MNIST" / "raw", 0)
    return root


def multimnist_of(root: Path, **options: Any) -> MultiMNIST:
    return MultiMNIST(root, MultiMNIST.configure(SIZES | PUBLISHED | options, "multimnist"))


def composed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The published canvas, by hand: both digits on 36 × 36 pixels, six apart."""
    canvas = np.zeros((36, 36), np.uint8)
    canvas[:28, :28] = left
    canvas[6:34, 6:34] = np.maximum(canvas[6:34, 6:34], right)
    return canvas


def test_images_are_those_of_the_published_canvas(root: Path) -> None:
    dataset = multimnist_of(root)
    assert dataset.image_size == (28, 28)
    left, right = dataset.compositions.pools["train"]
    for number in range(10):
        row, column = dataset.compositions.pairs["train"][number]
        expected = Image.fromarray(composed(left.images[row], right.images[column])).resize(
            (28, 28), Image.Resampling.NEAREST
        )
        sample = dataset.load(("train", number))
        assert sample["image"].shape == (28, 28, 3) and (sample["image"] == np.asarray(expected)[..., None]).all()
        assert (sample["left"], sample["right"]) == (left.labels[row], right.labels[column])


def test_without_shrinking_the_canvas_is_kept(root: Path) -> None:
    dataset = multimnist_of(root, shrink=0)
    left, right = dataset.compositions.pools["test"]
    row, column = dataset.compositions.pairs["test"][3]
    image = dataset.load(("test", 3))["image"]
    assert dataset.image_size == (36, 36)
    assert np.array_equal(image[..., 0], composed(left.images[row], right.images[column]))


def test_bicubic_is_pillows() -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (36, 36), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(canvas).resize((28, 28), Image.Resampling.BICUBIC))
    assert np.array_equal(shrunk(canvas, 28, "bicubic"), expected)
    assert set(np.unique(shrunk(canvas, 28, "nearest"))) <= set(np.unique(canvas))


def test_every_digit_is_once_at_the_left_in_order(root: Path) -> None:
    pairs = multimnist_of(root).compositions.pairs
    for split, count in SIZES.items():
        assert pairs[split][:, 0].tolist() == list(range(count))
        assert len(set(pairs[split][:, 1].tolist())) < count, "partners are drawn with replacement"
    again, other = (multimnist_of(root, seed=seed).compositions.pairs["train"] for seed in (0, 1))
    assert np.array_equal(pairs["train"], again) and not np.array_equal(pairs["train"], other)


def test_both_are_random_and_never_the_same_picture(root: Path) -> None:
    pairs = multimnist_of(root, pairing="both_random", train=3000).compositions.pairs["train"]
    assert (pairs[:, 0] != pairs[:, 1]).all() and pairs.min() == 0 and pairs.max() == 99
    assert np.bincount(pairs[:, 0]).std() > 1, "not evenly"


def test_val_has_the_last_digits_of_train(root: Path) -> None:
    pools = multimnist_of(root).compositions.pools
    assert pools["train"][0].sources.tolist() == list(range(100)) and pools["val"][0].sources.tolist() == list(
        range(100, 120)
    )
    assert "last" in multimnist_of(root).split_rule()


@pytest.mark.parametrize(("options", "message"), [({"offset": 9}, "at most 8"), ({"shrink": 40}, "larger than the canvas")])
def test_impossible_canvases_are_refused(root: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        multimnist_of(root, **options).index()


def test_real_mnist_gives_the_published_sizes(shared: Path) -> None:
    options = {**PUBLISHED, "train": 50_000, "val": 10_000, "test": 10_000}
    dataset = MultiMNIST(shared / "data", MultiMNIST.configure(options, "multimnist"))
    assert [len(dataset.compositions.pools[split][0].labels) for split in ("train", "val", "test")] == [
        50_000,
        10_000,
        10_000,
    ]
    assert dataset.compositions.pairs["test"][:, 0].tolist() == list(range(10_000))
    assert 0.1 < np.mean([dataset.load(("train", number))["image"].mean() for number in range(100)]) / 255 < 0.4
