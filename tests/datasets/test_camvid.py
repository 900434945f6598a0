"""CamVid: from a small tree in its layout, and from the real data where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.datasets.camvid import CLASSES, CamVid, boundaries, presence
from mtlbench.errors import UserError

FRAMES = {
    "train": ("0001TP_006690", "0006R0_f00930", "0016E5_00390"),
    "val": ("0016E5_07959", "0016E5_07961"),
    "test": ("0001TP_008550", "Seq05VD_f00000"),
}


def camvid(root: Path, **options: object) -> CamVid:
    return CamVid(root, CamVid.configure({"height": 32, "width": 48, **options}, "camvid"))


def labels_of(seed: int) -> np.ndarray:
    """Blocks of 8 pixels of one class each, the last column void."""
    blocks = np.random.default_rng(seed).integers(0, 11, (4, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    blocks[:, 40:] = 11
    return blocks


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "camvid"
    for split, names in FRAMES.items():
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number, name in enumerate(names):
            colour = np.full((32, 48, 3), 20 * number, np.uint8)
            Image.fromarray(colour).save(root / split / f"{name}.png")
            Image.fromarray(labels_of(number)).save(root / f"{split}annot" / f"{name}.png")
    return root


def test_official_splits_shapes_and_types(tree: Path) -> None:
    dataset = camvid(tree.parent)
    index = dataset.index()
    assert {split: [key[1] for key in keys] for split, keys in index.items()} == {  # type: ignore[index]
        split: [f"{name}.png" for name in names] for split, names in FRAMES.items()
    }
    for key in (*index["train"], *index["test"]):
        sample = dataset.load(key)
        assert sample["image"].shape == (32, 48, 3) and sample["image"].dtype == np.uint8
        for task in dataset.tasks:
            assert sample[task.name].shape == task.target_shape(32, 48) and sample[task.name].dtype == task.dtype
    assert len(dataset.files()) == 14


def test_void_is_unlabelled_and_absent_from_presence(tree: Path) -> None:
    dataset = camvid(tree)
    sample = dataset.load(("train", "0001TP_006690.png"))
    assert (sample["segmentation"][:, 40:] == 255).all() and np.array_equal(
        sample["segmentation"][:, :40], labels_of(0)[:, :40]
    )
    assert np.array_equal(np.flatnonzero(sample["presence"]), np.unique(labels_of(0)[:, :40]))


def test_boundaries_lie_where_two_classes_meet_and_are_unlabelled_beside_void() -> None:
    labels = np.zeros((4, 9), np.uint8)
    labels[:, 3:] = 7
    labels[:, 7:] = 255
    edges = boundaries(labels)[0]
    assert edges.dtype == np.uint8 and np.array_equal(edges[1], [0, 0, 1, 1, 0, 0, 255, 255, 255])


def test_presence_counts_single_pixels() -> None:
    labels = np.full((4, 4), 3, np.uint8)
    labels[0, 0], labels[1, 1] = 10, 255
    assert np.flatnonzero(presence(labels)).tolist() == [3, 10] and presence(labels).shape == (len(CLASSES),)


def test_labels_are_resized_without_new_values(tree: Path) -> None:
    small = camvid(tree, height=40, width=33).load(("val", "0016E5_07959.png"))
    assert set(np.unique(small["segmentation"])) <= {*np.unique(labels_of(0)).tolist(), 255}
    assert small["boundaries"].shape == (1, 40, 33)


def test_official_splits_share_videos_and_the_other_ones_do_not(tree: Path) -> None:
    official = camvid(tree)
    videos = {split: {official.scene(key) for key in keys} for split, keys in official.index().items()}
    assert videos["train"] & videos["val"] == {"0016E5"} and videos["train"] & videos["test"] == {"0001TP"}
    apart = camvid(tree, split="sequence")
    videos = {split: {apart.scene(key) for key in keys} for split, keys in apart.index().items()}
    assert videos == {"train": {"0006R0", "0016E5"}, "val": {"0001TP"}, "test": {"Seq05VD"}}
    assert sum(map(len, apart.index().values())) == 7 and "Seq05VD" in apart.split_rule()


def test_unknown_videos_cannot_be_split(tree: Path) -> None:
    Image.new("RGB", (48, 32)).save(tree / "train" / "mine_001.png")
    with pytest.raises(UserError, match=r"video of train/mine_001\.png.*split=official"):
        camvid(tree, split="sequence").index()


def test_wrong_labels_and_missing_files_are_named(tree: Path) -> None:
    Image.fromarray(np.full((32, 48), 12, np.uint8)).save(tree / "valannot" / "0016E5_07959.png")
    with pytest.raises(BadSample, match=r"0016E5_07959\.png holds labels 12"):
        camvid(tree).load(("val", "0016E5_07959.png"))
    (tree / "testannot" / "0001TP_008550.png").unlink()
    with pytest.raises(BadSample, match=r"testannot.*missing"):
        camvid(tree).load(("test", "0001TP_008550.png"))
    with pytest.raises(BadSample, match="expected"):
        camvid(tree).load("frame")


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="camvid was not found"):
        camvid(tmp_path).index()


def test_the_real_data_are_read(shared: Path) -> None:
    dataset = CamVid(shared / "data", CamVid.configure({}, "camvid"))
    if dataset.find_folder() is None:
        pytest.skip("no CamVid among the sample data")
    index = dataset.index()
    assert [len(index[split]) for split in ("train", "val", "test")] == [367, 101, 233]
    counts = {(split, dataset.scene(key)): 0 for split, keys in index.items() for key in keys}
    for split, keys in index.items():
        for key in keys:
            counts[split, dataset.scene(key)] += 1
    # What the card says of the splits.
    assert counts == {
        ("train", "0001TP"): 62,
        ("train", "0006R0"): 101,
        ("train", "0016E5"): 204,
        ("val", "0016E5"): 101,
        ("test", "0001TP"): 62,
        ("test", "Seq05VD"): 171,
    }
    apart = CamVid(shared / "data", CamVid.configure({"split": "sequence"}, "camvid")).index()
    assert [len(apart[split]) for split in ("train", "val", "test")] == [406, 124, 171]
    sample = dataset.load(index["train"][0])
    assert sample["image"].shape == (144, 192, 3) and 0 < (sample["boundaries"] == 1).mean() < 0.3
