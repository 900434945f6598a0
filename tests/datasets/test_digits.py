"""MultiMNIST and MultiDigits: what is composed of what, and what is said when files are missing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import MNIST

from mtlbench.contract.dataset import BadSample, Dataset
from mtlbench.datasets import multimnist
from mtlbench.datasets._shared.sklearn_digits import enlarge
from mtlbench.datasets.multidigits import MultiDigits
from mtlbench.datasets.multimnist import MultiMNIST
from mtlbench.errors import UserError

SMALL = {"train": 150, "val": 40, "test": 50}


def write_idx(folder: Path, seed: int, sizes: tuple[int, int] = (120, 60)) -> None:
    """A tiny MNIST in torchvision's layout: random pictures, labels 0 to 9 in turn."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for part, size in zip(("train", "t10k"), sizes, strict=True):
        images = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, size, 28, 28) + images.tobytes())
        labels = (np.arange(size) % 10).astype(np.uint8)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, size) + labels.tobytes())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("torchvision")
    write_idx(root / "MNIST" / "raw", 0)
    write_idx(root / "FashionMNIST" / "raw", 1)
    return root


def multimnist_of(root: Path | None, **options: Any) -> MultiMNIST:
    return MultiMNIST(root, MultiMNIST.configure(SMALL | options, "multimnist"))


def multidigits(**options: Any) -> MultiDigits:
    return MultiDigits(None, MultiDigits.configure(SMALL | options, "multidigits"))


@pytest.fixture(params=["mnist", "fashion", "mixed", "multidigits"])
def make(request: pytest.FixtureRequest, root: Path) -> Any:
    """Makes a fresh dataset of one kind with given options."""
    if request.param == "multidigits":
        return multidigits
    return lambda **options: multimnist_of(root, source=request.param, **options)


def test_shapes_types_and_sizes(make: Any) -> None:
    for size in (36, 40):
        dataset: Dataset = make(size=size)
        assert {split: len(keys) for split, keys in dataset.index().items()} == SMALL
        for keys in dataset.index().values():
            sample = dataset.load(keys[-1])
            assert sample["image"].shape == (size, size, 3) and sample["image"].dtype == np.uint8
            for task in dataset.tasks:
                assert sample[task.name].shape == task.target_shape(size, size) == ()
                assert sample[task.name].dtype == task.dtype


def test_same_options_same_samples_other_seed_other_samples(make: Any) -> None:
    datasets = make(), make(), make(seed=1)
    first, second, third = ([dataset.load(("train", n)) for n in range(20)] for dataset in datasets)
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a)
    assert any(not np.array_equal(a["image"], b["image"]) for a, b in zip(first, third, strict=True))


def test_picture_left_and_right_are_those_of_the_labels(make: Any) -> None:
    dataset = make()
    compositions = dataset.compositions
    for split, keys in dataset.index().items():
        left, right = compositions.pools[split]
        for key in keys[:10]:
            sample, (i, j) = dataset.load(key), compositions.pairs[split][key[1]]
            side = left.images.shape[1]
            gap = 36 - side
            image = sample["image"]
            assert (image == image[..., :1]).all()
            # Where only one picture lies, it shows; where both do, the brighter one.
            assert np.array_equal(image[:gap, :side, 0], left.images[i][:gap])
            assert np.array_equal(image[side:, gap:, 0], right.images[j][side - gap :])
            both = np.maximum(left.images[i][gap:, gap:], right.images[j][: side - gap, : side - gap])
            assert np.array_equal(image[gap:side, gap:side, 0], both)
            assert not image[:gap, side:].any() and not image[side:, :gap].any()
            assert (sample["left"], sample["right"]) == (left.labels[i], right.labels[j])


def test_splits_share_no_source_picture(make: Any) -> None:
    pools = make().compositions.pools
    for side in (0, 1):
        train, val = (set(pools[split][side].sources.tolist()) for split in ("train", "val"))
        assert train and val and not train & val
        # Byte for byte too, which also covers test (numbered on its own in MultiMNIST).
        pictures = [{image.tobytes() for image in pools[split][side].images} for split in ("train", "val", "test")]
        assert not pictures[0] & pictures[1] and not pictures[0] & pictures[2] and not pictures[1] & pictures[2]


def test_source_pictures_are_used_evenly_and_all_classes_appear(make: Any) -> None:
    dataset = make(train=330)
    pairs, pools = dataset.compositions.pairs["train"], dataset.compositions.pools["train"]
    for side in (0, 1):
        uses = np.bincount(pairs[:, side], minlength=len(pools[side].labels))
        assert uses.max() - uses.min() <= 1
        assert set(pools[side].labels[pairs[:, side]].tolist()) == set(range(10))
    assert np.abs(np.corrcoef(*(pools[side].labels[pairs[:, side]] for side in (0, 1)))[0, 1]) < 0.25


@pytest.mark.parametrize("key", ["train", ("nowhere", 0), ("val", 40), ("val", -1)])
def test_unknown_keys_are_refused(make: Any, key: object) -> None:
    with pytest.raises(BadSample, match="expected"):
        make().load(key)


def test_mixed_has_digits_on_the_left_and_items_on_the_right(root: Path) -> None:
    mixed = multimnist_of(root, source="mixed").compositions.pools["test"]
    digits = multimnist_of(root, source="mnist").compositions.pools["test"][0]
    items = multimnist_of(root, source="fashion").compositions.pools["test"][0]
    assert np.array_equal(mixed[0].images, digits.images) and np.array_equal(mixed[1].images, items.images)


def test_files_are_the_raw_ones_that_are_read(root: Path) -> None:
    assert {path.parent.parent.name for path in multimnist_of(root, source="mixed").files()} == {"MNIST", "FashionMNIST"}
    files = multimnist_of(root).files()
    assert len(files) == 4 and all(path.is_file() for path in files)
    assert not multidigits().files() and MultiDigits.embedded


def test_folder_of_all_datasets_may_be_named(root: Path, tmp_path: Path) -> None:
    write_idx(tmp_path / "torchvision" / "MNIST" / "raw", 0)
    assert multimnist_of(tmp_path).files()[0].is_relative_to(tmp_path)


def test_missing_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        multimnist_of(tmp_path, source="fashion").index()
    for part in (str(tmp_path), "FashionMNIST/raw", "multidigits", "--data"):
        assert part in str(caught.value)


def test_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: MNIST) -> None:
        raise RuntimeError("no network:\ndetails")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MNIST, "download", offline)
    with pytest.raises(UserError, match="could not be downloaded \\(no network\\)") as caught:
        multimnist_of(None).index()
    assert str(multimnist.cache_folder()) in str(caught.value) and "multidigits" in str(caught.value)


def test_without_a_folder_files_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fetch(self: MNIST) -> None:
        calls.append(self.raw_folder)
        write_idx(Path(self.raw_folder), 0)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MNIST, "download", fetch)
    assert len(multimnist_of(None).index()["train"]) == 150
    assert len(multimnist_of(None).files()) == 4 and len(calls) == 1


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03" + b"\1" * 40])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    write_idx(tmp_path / "MNIST" / "raw", 0)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=r"train file in .*MNIST.raw is damaged"):
        multimnist_of(tmp_path).index()


def test_real_mnist_is_read(shared: Path) -> None:
    dataset = MultiMNIST(shared / "data", MultiMNIST.configure({"source": "mixed"}, "multimnist"))
    index = dataset.index()
    assert [len(index[split]) for split in ("train", "val", "test")] == [20000, 5000, 10000]
    left, right = dataset.compositions.pools["train"]
    assert len(left.labels) == len(right.labels) == 50000
    image = np.stack([dataset.load(key)["image"] for key in index["train"][:500]]) / 255
    assert 0.1 < image.mean() < 0.4


def test_enlarging_keeps_constants_and_order() -> None:
    assert np.allclose(enlarge(np.ones((1, 8, 8))), 1)
    ramp = enlarge(np.tile(np.linspace(0, 1, 8), (1, 8, 1)))[0]
    assert ramp.shape == (24, 24) and (np.diff(ramp, axis=1) >= -1e-12).all() and np.allclose(ramp, ramp[:1])
    picture = np.random.default_rng(0).random((1, 8, 8))
    # The middle of each 3x3 cell is the source pixel's centre.
    assert np.allclose(enlarge(picture)[0, 1::3, 1::3], picture[0])


def test_raw_files_may_be_downloaded_with_checksums() -> None:
    downloads = multimnist_of(None, source="mixed").downloads()
    assert len(downloads) == 8 and {download.path.split("/")[0] for download in downloads} == {"MNIST", "FashionMNIST"}
    assert all(len(download.md5) == 32 and download.addresses for download in downloads)
    assert all(download.path.endswith("ubyte.gz") for download in downloads)
