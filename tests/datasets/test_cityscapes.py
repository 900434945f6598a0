"""Cityscapes, from small trees in exactly its two layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.store import prepare
from mtlbench.datasets.cityscapes import Cityscapes
from mtlbench.datasets.cityscapes.encodings import surface_normals
from mtlbench.errors import UserError

OFFICIAL = [
    ("train", "aachen", 0, 19),
    ("train", "aachen", 1, 19),
    ("train", "bremen", 4, 119),
    ("train", "zurich", 2, 19),
    ("val", "lindau", 0, 19),
    ("val", "munster", 3, 7),
]
BLOCK = 4  # official pictures are written at four times the prepared size, in blocks of one value
SIZE = (128, 256)
IDS_7 = {7: 0, 8: 0, 11: 1, 12: 1, 13: 1, 17: 2, 19: 2, 20: 2, 21: 3, 22: 3, 23: 4, 24: 5, 25: 5}
IDS_7 |= dict.fromkeys((26, 27, 28, 31, 32, 33), 6)
IDS_19 = {label_id: train_id for train_id, label_id in enumerate(IDS_7)}


def dataset(root: Path | None, **options: object) -> Cityscapes:
    return Cityscapes(root, Cityscapes.configure(options, "cityscapes"))


def official_raw(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label ids and raw disparity at the prepared size."""
    rng = np.random.default_rng(number)
    raw = rng.integers(0, 32258, SIZE).astype(np.uint16)
    raw[0, :3] = (0, 1, 2)
    return rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.integers(0, 34, SIZE).astype(np.uint8), raw


def blocks(array: np.ndarray) -> np.ndarray:
    return array.repeat(BLOCK, 0).repeat(BLOCK, 1)


@pytest.fixture(scope="module")
def official_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official")
    for number, (split, city, sequence, frame) in enumerate(OFFICIAL):
        stem = f"{city}_{sequence:06}_{frame:06}"
        image, ids, raw = official_raw(number)
        for kind, suffix, array in (
            ("leftImg8bit", "leftImg8bit", image),
            ("gtFine", "gtFine_labelIds", ids),
            ("disparity", "disparity", raw),
        ):
            folder = root / kind / split / city
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(blocks(array)).save(folder / f"{stem}_{suffix}.png")
        (root / "gtFine" / split / city / f"{stem}_gtFine_polygons.json").write_text("{}")
    return root


def copy_tree(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())
    return target


def preprocessed_raw(number: int, classes: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (8 bits), labels (-1 ignored) and raw disparity."""
    rng = np.random.default_rng(100 + number)
    image, raw = rng.integers(0, 256, (*SIZE, 3)), rng.integers(0, 32258, SIZE)
    raw[0, :3] = (0, 1, 2)
    return image, rng.integers(-1, classes, SIZE), raw


def write_preprocessed(root: Path, label: str = "label", classes: int = 7) -> Path:
    for split, numbers in (("train", range(9)), ("val", range(3))):
        for folder in ("image", label, "depth"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            image, labels, raw = preprocessed_raw(number + 50 * (split == "val"), classes)
            np.save(root / split / "image" / f"{number}.npy", image / 255)
            np.save(root / split / label / f"{number}.npy", labels.astype(np.float64))
            np.save(root / split / "depth" / f"{number}.npy", raw[..., None] / 65535)
    return root


@pytest.mark.parametrize("classes", [7, 19])
def test_official_layout(official_tree: Path, tmp_path: Path, classes: int) -> None:
    source = dataset(official_tree, classes=classes)
    prepared = prepare(source, "cityscapes", tmp_path)
    ids = {name: split.ids for name, split in prepared.splits.items()}
    assert ids["train"] == tuple(f"train/{c}/{c}_{s:06}_{f:06}" for _, c, s, f in OFFICIAL[:3])
    assert ids["val"] == ("train/zurich/zurich_000002_000019",)
    assert ids["test"] == tuple(f"val/{c}/{c}_{s:06}_{f:06}" for _, c, s, f in OFFICIAL[4:])
    assert prepared.splits["train"].scenes == ("aachen_000000", "aachen_000001", "bremen_000004")
    assert "every sixth" in source.split_rule() and source.describe()["layout"] == "official"
    table = IDS_7 if classes == 7 else IDS_19
    first = {"train": 0, "val": 3, "test": 4}
    for name, split in prepared.splits.items():
        batch = split.batch(torch.arange(len(split)))
        for row in range(len(split)):
            image, label_ids, raw = official_raw(first[name] + row)
            assert np.array_equal(split.images[row], image)
            expected = np.vectorize(lambda label_id: table.get(label_id, 255))(label_ids)
            assert np.array_equal(batch.targets["segmentation"][row], expected)
            depth = batch.targets["depth"][row, 0].numpy()
            assert np.array_equal(depth == 0, raw <= 1)
            metres = 0.209313 * 2262.52 / ((raw[raw > 1].astype(np.float64) - 1) / 256)
            assert np.allclose(1 / depth[raw > 1], metres, rtol=1e-6)
    assert source.tasks[1].unit == "1/m" and source.tasks[0].channels == classes


def test_official_layout_at_another_size(official_tree: Path, tmp_path: Path) -> None:
    split = prepare(dataset(official_tree, height=64, width=96), "cityscapes", tmp_path).splits["train"]
    image, label_ids, raw = official_raw(0)
    assert split.images.shape[1:] == (64, 96, 3)
    rows, columns = (np.arange(64) * 2 + 1), ((np.arange(96) + 0.5) * 256 / 96).astype(int)
    expected = np.vectorize(lambda label_id: IDS_19.get(label_id, 255))(label_ids)[rows[:, None], columns]
    batch = split.batch(torch.tensor([0]))
    assert np.array_equal(batch.targets["segmentation"][0], expected)
    assert np.array_equal(batch.targets["depth"][0, 0] == 0, raw[rows[:, None], columns] <= 1)
    assert abs(split.images[0].mean() - image.mean()) < 1


@pytest.mark.parametrize(("label", "classes"), [("label", 7), ("label_7", 7), ("label_19", 19), ("label", 19)])
def test_preprocessed_layout(tmp_path: Path, label: str, classes: int) -> None:
    root = write_preprocessed(tmp_path / "raw", label, classes)
    if label != "label":
        write_preprocessed(root, "label", 2)  # must not be read
    source = dataset(root, classes=classes)
    prepared = prepare(source, "cityscapes", tmp_path / "cache")
    ids = {name: split.ids for name, split in prepared.splits.items()}
    assert ids["val"] == ("train/0", "train/7") and ids["test"] == ("val/0", "val/1", "val/2")
    assert ids["train"] == tuple(f"train/{number}" for number in (1, 2, 3, 4, 5, 6, 8))
    for split in prepared.splits.values():
        batch = split.batch(torch.arange(len(split)))
        for row, name in enumerate(split.ids):
            number = int(name.split("/")[1]) + 50 * name.startswith("val")
            image, labels, raw = preprocessed_raw(number, classes)
            assert np.array_equal(split.images[row], image)
            assert np.array_equal(batch.targets["segmentation"][row], np.where(labels < 0, 255, labels))
            depth = batch.targets["depth"][row, 0].numpy()
            assert np.array_equal(depth, np.where(raw <= 1, 0, raw / 65535).astype(np.float32))
        assert split.scenes == (None,) * len(split)
    assert source.tasks[1].unit == "raw disparity/65535" and "leak" in source.split_rule()


def test_images_first_and_flat_depth_are_read_too(tmp_path: Path) -> None:
    root = write_preprocessed(tmp_path / "raw")
    path = root / "train/depth/3.npy"
    np.save(path, np.load(path)[..., 0].astype(np.float32))
    label = root / "train/label/3.npy"
    np.save(label, np.load(label).astype(np.int8))
    split = prepare(dataset(root, classes=7), "cityscapes", tmp_path / "cache").splits["train"]
    raw = preprocessed_raw(3)[2]
    depth = split.batch(torch.tensor([split.ids.index("train/3")])).targets["depth"][0, 0].numpy()
    assert np.array_equal(depth == 0, raw <= 1) and np.allclose(depth, np.where(raw > 1, raw, 0) / 65535, rtol=1e-6)


def test_the_parent_folder_and_an_asked_for_layout_are_found(tmp_path: Path) -> None:
    write_preprocessed(tmp_path / "cityscapes")
    assert len(dataset(tmp_path, classes=7).index()["train"]) == 7
    with pytest.raises(UserError, match="not found in the official layout"):
        dataset(tmp_path, layout="official").index()


def test_seven_categories_are_not_taken_for_nineteen_classes(tmp_path: Path) -> None:
    write_preprocessed(tmp_path)
    with pytest.raises(UserError, match="7 categories, not 19 classes"):
        dataset(tmp_path).index()


def test_another_size_of_the_preprocessed_layout_is_refused(tmp_path: Path) -> None:
    write_preprocessed(tmp_path)
    with pytest.raises(UserError, match="128×256, not 64×256"):
        dataset(tmp_path, classes=7, height=64).index()


def test_without_data_the_error_says_everything(tmp_path: Path) -> None:
    source = dataset(tmp_path)
    assert len(source.tasks) == 2 and source.image_size == (128, 256)
    with pytest.raises(UserError) as caught:
        source.index()
    message = str(caught.value)
    for part in (str(tmp_path), "leftImg8bit/", "label_19", "https://www.cityscapes-dataset.com", "streets", "multidigits"):
        assert part in message


def test_a_missing_folder_is_named(official_tree: Path, tmp_path: Path) -> None:
    root = copy_tree(official_tree, tmp_path / "raw")
    (root / "disparity").rename(root / "elsewhere")
    with pytest.raises(UserError, match="disparity/train is missing"):
        dataset(root).index()


@pytest.fixture(scope="module")
def parted_tree(official_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_tree(official_tree, tmp_path_factory.mktemp("parted"))
    for number, (split, city, sequence, frame) in enumerate(OFFICIAL):
        folder = root / "gtFinePanopticParts" / split / city
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{city}_{sequence:06}_{frame:06}_gtFinePanopticParts.tif"
        Image.fromarray(blocks(part_uids(number))).save(folder / name)
    return root


UIDS = {7: 0, 24: 255, 26: 255, 24_003: 255, 33_001: 0, 24_00300: 255, 24_00301: 1, 25_00104: 4, 26_00101: 5, 28_01205: 9}
UIDS |= {27_00002: 6, 32_00100: 0}


def part_uids(number: int) -> np.ndarray:
    return np.random.default_rng(number).choice(list(UIDS), SIZE).astype(np.int32)


FIVE = ("segmentation", "depth", "contours", "normals", "reconstruction")


def test_parts_normals_contours_and_reconstruction(parted_tree: Path, tmp_path: Path) -> None:
    source = dataset(parted_tree, tasks_used=(*FIVE, "parts"))
    prepared = prepare(source, "cityscapes", tmp_path)
    batch = prepared.splits["train"].batch(torch.arange(3))
    expected = np.vectorize(UIDS.get)(part_uids(1))
    assert np.array_equal(batch.targets["parts"][1], expected)
    assert source.tasks[-1].channels == 10 and len(source.files()) == 6 * 4
    label = batch.targets["segmentation"][1].numpy()
    edges = batch.targets["contours"][1, 0].numpy()
    assert edges[5, 6] == (len(np.unique(label[4:7, 5:8])) > 1) and set(np.unique(edges)) <= {0, 1}
    length = np.linalg.norm(batch.targets["normals"].numpy(), axis=1)
    assert np.all((length == 0) | (np.abs(length - 1) < 1e-5))
    with pytest.raises(UserError, match="gtFinePanopticParts/train is missing"):
        (parted_tree / "gtFinePanopticParts" / "train").rename(tmp_path / "gone")
        dataset(parted_tree, tasks_used=("parts",)).index()
    (tmp_path / "gone").rename(parted_tree / "gtFinePanopticParts" / "train")


def test_unknown_parts_are_named(parted_tree: Path) -> None:
    path = next((parted_tree / "gtFinePanopticParts").rglob("aachen_000001*.tif"))
    good = path.read_bytes()
    for uid in (24_00305, 99_001):
        Image.fromarray(np.full(BIG, uid, np.int32)).save(path)
        with pytest.raises(BadSample, match=f"aachen_000001.*holds the ids {uid}"):
            dataset(parted_tree, tasks_used=("parts",)).load(("train", "aachen", "aachen_000001_000019"))
    path.write_bytes(good)


def test_normals_of_a_road_and_of_a_wall() -> None:
    height, width = SIZE
    v = np.arange(height)[:, None] + np.zeros(width)
    horizon, down = (513.137 + 0.5) / 8 - 0.5, 2265.3017905988554 / 8
    road = np.maximum(v - horizon, 0) / (down * 1.2)  # 1/z of a plane 1.2 m below the camera
    normals = surface_normals(road)
    assert np.allclose(normals[:, 100, 100], (0, -1, 0), atol=1e-3)
    assert not normals[:, :60].any() and not normals[:, 0].any()
    assert np.allclose(surface_normals(np.full(SIZE, 0.1))[:, 5, 6], (0, 0, -1), atol=1e-6)


def test_what_the_preprocessed_layout_cannot_give_is_refused(tmp_path: Path) -> None:
    write_preprocessed(tmp_path)
    with pytest.raises(UserError, match="normals cannot be had from the preprocessed layout"):
        dataset(tmp_path, classes=7, tasks_used=FIVE).index()
    source = dataset(tmp_path, classes=7, tasks_used=("contours", "reconstruction"))
    assert set(source.load(("train", 3))) == {"image", "contours"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


Spoil = Callable[[Path], object]
"""What a fault does to a file."""


def replace_image(array: np.ndarray) -> Spoil:
    return lambda path: Image.fromarray(array).save(path)


def replace_array(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda path: np.save(path, change(np.load(path)))


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[5, 6] = value
        return array

    return change


BIG = (SIZE[0] * BLOCK, SIZE[1] * BLOCK)
OFFICIAL_FAULTS: dict[str, tuple[str, str, Spoil, str]] = {
    "cut image": ("leftImg8bit", "leftImg8bit", cut, "cannot be decoded"),
    "cut disparity": ("disparity", "disparity", cut, "cannot be decoded"),
    "empty": ("leftImg8bit", "leftImg8bit", lambda path: path.write_bytes(b""), "no image file"),
    "grey": ("leftImg8bit", "leftImg8bit", replace_image(np.zeros(BIG, np.uint8)), "expected RGB"),
    "missing": ("gtFine", "gtFine_labelIds", Path.unlink, "is missing"),
    "small": ("gtFine", "gtFine_labelIds", replace_image(np.zeros((9, 9), np.uint8)), r"shape \[9, 9\], expected"),
    "range": ("gtFine", "gtFine_labelIds", replace_image(np.full(BIG, 77, np.uint8)), "label ids 77"),
}
PREPROCESSED_FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "cut": ("image", cut, "cannot be read as a NumPy array"),
    "missing": ("depth", Path.unlink, "is missing"),
    "shape": ("depth", replace_array(lambda array: array[:64]), r"shape \[64, 256, 1\]"),
    "nan": ("depth", replace_array(with_value(np.nan)), "NaN or infinite values"),
    "nan label": ("label", replace_array(with_value(np.nan)), "NaN or infinite values"),
    "range": ("label", replace_array(with_value(7)), "labels 7, expected 0 to 6, or -1"),
    "fraction": ("label", replace_array(with_value(0.5)), "labels 0.5"),
    "colours": ("image", replace_array(lambda array: array * 255), "colours from 0 to 255, expected 0 to 1"),
    "objects": ("depth", lambda path: np.save(path, np.array([None])), "cannot be read"),
}


def check_fault(source: Cityscapes, cache: Path, path: Path, message: str, good: str) -> None:
    with pytest.raises(UserError, match=f"cannot be used: .*{message}") as caught:
        prepare(source, "cityscapes", cache)
    assert str(path) in str(caught.value)
    prepared = prepare(source, "cityscapes", cache, skip_bad=True)
    assert [str(path) in entry["reason"] for entry in prepared.meta["skipped"]] == [True]
    assert prepared.fingerprint != good


@pytest.fixture(scope="module")
def good_official(official_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepare(dataset(official_tree), "cityscapes", tmp_path_factory.mktemp("cache")).fingerprint


@pytest.mark.parametrize("fault", OFFICIAL_FAULTS)
def test_bad_official_files_are_named(official_tree: Path, good_official: str, tmp_path: Path, fault: str) -> None:
    kind, suffix, spoil, message = OFFICIAL_FAULTS[fault]
    root = copy_tree(official_tree, tmp_path / "raw")
    path = root / kind / "train" / "aachen" / f"aachen_000001_000019_{suffix}.png"
    spoil(path)
    check_fault(dataset(root), tmp_path / "cache", path, message, good_official)


@pytest.mark.parametrize("fault", PREPROCESSED_FAULTS)
def test_bad_preprocessed_files_are_named(tmp_path: Path, fault: str) -> None:
    folder, spoil, message = PREPROCESSED_FAULTS[fault]
    root = write_preprocessed(tmp_path / "raw")
    good = prepare(dataset(root, classes=7), "cityscapes", tmp_path / "cache").fingerprint
    path = root / "train" / folder / "4.npy"
    spoil(path)
    check_fault(dataset(root, classes=7), tmp_path / "cache", path, message, good)
