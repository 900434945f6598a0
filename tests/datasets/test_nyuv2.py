"""NYUv2, from small trees in exactly its three layouts, and from four real frames."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.sample_validation import validate_sample
from mtlbench.data.store import Prepared, prepare
from mtlbench.datasets.nyuv2 import NYUv2
from mtlbench.datasets.nyuv2.encodings import CLASSES_13, CLASSES_40
from mtlbench.datasets.nyuv2.preprocessed import STORED_SIZE
from mtlbench.errors import UserError

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

SMALL = (48, 64)
FRAME_SIZE = (480, 640)


def dataset(root: Path, **options: object) -> NYUv2:
    return NYUv2(root, NYUv2.configure(options, "nyuv2"))


def random_frame(seed: int, size: tuple[int, int], classes: int) -> dict[str, np.ndarray]:
    """Image, labels (-1 is void), depth in metres (0 invalid) and normals (x right, y down, z forward; 0 invalid)."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(3, *size))
    normals[2] = -np.abs(normals[2]) - 0.5
    normals /= np.linalg.norm(normals, axis=0)
    normals[:, :3] = 0
    depth = rng.uniform(0.7, 6, size)
    depth[0, :4] = 0
    return {
        "image": rng.integers(0, 256, (*size, 3)),
        "label": rng.integers(-1, classes, size),
        "depth": depth,
        "normals": normals,
    }


# Preprocessed


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normals are stored as (x, z, y)."""
    root = tmp_path_factory.mktemp("preprocessed")
    for split, count in (("train", 7), ("val", 2)):
        for kind in ("image", "label", "depth", "normal"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            frame = random_frame(number + 50 * (split == "val"), STORED_SIZE, 13)
            np.save(root / split / "image" / f"{number}.npy", frame["image"] / 255)
            np.save(root / split / "label" / f"{number}.npy", frame["label"].astype(np.float32))
            np.save(root / split / "depth" / f"{number}.npy", frame["depth"][..., None].astype(np.float32))
            stored = frame["normals"][[0, 2, 1]].transpose(1, 2, 0)
            np.save(root / split / "normal" / f"{number}.npy", stored.astype(np.float32))
    return root


def copied(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).hardlink_to(path)
    return target


def rewrite(path: Path, array: np.ndarray) -> None:
    path.unlink()  # a hard link: the original must stay
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


def test_preprocessed_layout(preprocessed: Path, tmp_path: Path) -> None:
    source = dataset(preprocessed)
    prepared = prepare(source, "nyuv2", tmp_path)
    ids = {name: split.ids for name, split in prepared.splits.items()}
    assert ids["train"] == tuple(f"train/{number}" for number in range(6))
    assert ids["val"] == ("train/6",) and ids["test"] == ("val/0", "val/1")
    assert [task.name for task in source.tasks] == ["segmentation", "depth", "normals"]
    for split in prepared.splits.values():
        batch = split.batch(torch.arange(len(split)))
        for row, name in enumerate(split.ids):
            frame = random_frame(int(name[-1]) + 50 * name.startswith("val"), STORED_SIZE, 13)
            assert np.array_equal(split.images[row], frame["image"])
            expected = np.where(frame["label"] < 0, 255, frame["label"])
            assert np.array_equal(batch.targets["segmentation"][row], expected)
            assert np.allclose(batch.targets["depth"][row, 0], frame["depth"])
            assert np.allclose(batch.targets["normals"][row], frame["normals"], atol=1e-6)
    assert source.describe()["layout"] == "preprocessed" and source.describe()["classes"] == 13
    assert "may be shared" in source.split_rule() and source.scene(("train", 0)) is None


def test_contours_and_reconstruction_can_be_asked_for(preprocessed: Path) -> None:
    source = dataset(preprocessed, tasks_used=("contours", "reconstruction"))
    sample = source.load(("train", 0))
    assert set(sample) == {"image", "contours"}
    validate_sample(sample, source.tasks, source.image_size)


PREPROCESSED_FAULTS = {
    "cut": ("image", None, "cannot be read as a NumPy array"),
    "shape": ("depth", np.zeros((9, 9)), r"shape \[9, 9\]"),
    "nan depth": ("depth", np.full((*STORED_SIZE, 1), np.nan), "NaN or infinite"),
    "far": ("depth", np.full((*STORED_SIZE, 1), 1000.0), "depth in metres from 1000"),
    "range": ("label", np.full(STORED_SIZE, 13.0), "labels 13, expected 0 to 12"),
    "fraction": ("label", np.full(STORED_SIZE, 0.5), r"labels 0\.5"),
    "bytes": ("normal", np.full((*STORED_SIZE, 3), 200.0), "normals from 200"),
    "missing": ("normal", "missing", "is missing"),
}


@pytest.mark.parametrize("fault", PREPROCESSED_FAULTS)
def test_bad_preprocessed_files_are_named(preprocessed: Path, tmp_path: Path, fault: str) -> None:
    kind, value, message = PREPROCESSED_FAULTS[fault]
    root = copied(preprocessed, tmp_path)
    path = root / "train" / kind / "0.npy"
    if isinstance(value, np.ndarray):
        rewrite(path, value)
    else:
        content = path.read_bytes()
        path.unlink()
        if value is None:
            path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadSample, match=message) as caught:
        dataset(root).load(("train", 0))
    assert str(path) in str(caught.value)
    dataset(root).load(("train", 1))


def test_skipping_bad_frames_changes_the_fingerprint(preprocessed: Path, tmp_path: Path) -> None:
    root = copied(preprocessed, tmp_path / "raw")
    good = prepare(dataset(root), "nyuv2", tmp_path / "good").fingerprint
    rewrite(root / "train/depth/0.npy", np.full((*STORED_SIZE, 1), np.nan))
    with pytest.raises(UserError, match=r"depth.0\.npy holds NaN"):
        prepare(dataset(root), "nyuv2", tmp_path / "bad")
    prepared = prepare(dataset(root), "nyuv2", tmp_path / "bad", skip_bad=True)
    assert [entry["id"] for entry in prepared.meta["skipped"]] == ["train/0"] and prepared.fingerprint != good


def test_what_the_preprocessed_layout_does_not_hold_is_refused(preprocessed: Path) -> None:
    with pytest.raises(UserError, match="holds 13 classes, not 40"):
        dataset(preprocessed, classes=40).index()
    with pytest.raises(UserError, match="288×384, not 240×384"):
        dataset(preprocessed, height=240).index()


# AdaShare's


@pytest.fixture(scope="module")
def adashare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adashare") / "nyuv2"
    for kind in ("img", "seg", "depth", "normal_mask"):
        (root / kind).mkdir(parents=True)
    names = [f"{number:04}" for number in (3, 1, 9, 12, 20, 31, 44, 7, 8)]
    for number, name in enumerate(names):
        frame = random_frame(number, SMALL, 40)
        label = np.where(frame["label"] < 0, 255, frame["label"])
        x, y, z = frame["normals"]
        code = np.rint((np.stack([x, z, -y], -1) + 1) * 127.5).astype(np.uint8)
        code[(frame["normals"] == 0).all(0)] = 255
        Image.fromarray(frame["image"].astype(np.uint8)).save(root / "img" / f"{name}.png")
        Image.fromarray(label.astype(np.uint8)).save(root / "seg" / f"{name}.png")
        np.save(root / "depth" / f"{name}.npy", frame["depth"].astype(np.float32))
        Image.fromarray(code).save(root / "normal_mask" / f"{name}.png")
    entry = {
        split: [[f"{kind}/{name}.png" for kind in ("img", "seg", "normal_mask")] for name in part]
        for split, part in {"train": names[:7], "test": names[7:]}.items()
    }
    (root / "nyu_v2_3task.json").write_text(json.dumps(entry))
    return root


def test_adashare_layout(adashare: Path, tmp_path: Path) -> None:
    source = dataset(adashare.parent, height=48, width=64)
    prepared: Prepared = prepare(source, "nyuv2", tmp_path)
    ids = {name: split.ids for name, split in prepared.splits.items()}
    assert ids == {"train": ("0001", "0003", "0009", "0012", "0020", "0031"), "val": ("0044",), "test": ("0007", "0008")}
    assert source.tasks[0].channels == 40 and [task.weight for task in source.tasks] == [1, 3, 20]
    batch, frame = prepared.splits["train"].batch(torch.tensor([1])), random_frame(0, SMALL, 40)
    assert np.array_equal(prepared.splits["train"].images[1], frame["image"])
    assert np.array_equal(batch.targets["segmentation"][0], np.where(frame["label"] < 0, 255, frame["label"]))
    assert np.allclose(batch.targets["depth"][0, 0], frame["depth"])
    normals = batch.targets["normals"][0].numpy()
    assert np.allclose(normals, frame["normals"], atol=0.02)
    assert np.array_equal((normals == 0).all(0), (frame["normals"] == 0).all(0))


def test_bad_adashare_files_are_named(adashare: Path, tmp_path: Path) -> None:
    root = copied(adashare, tmp_path)
    grey = np.zeros(SMALL, np.uint8)
    for kind, value, message in (
        ("seg", grey + 40, "labels 40, expected 0 to 39"),
        ("seg", grey[:9], r"shape \[9, 64\]"),
        ("normal_mask", grey, "expected RGB"),
    ):
        good = (root / kind / "0001.png").read_bytes()
        rewrite(root / kind / "0001.png", value)
        with pytest.raises(BadSample, match=rf"0001\.png.*{message}"):
            dataset(root).load("0001")
        (root / kind / "0001.png").write_bytes(good)
    (root / "nyu_v2_3task.json").unlink()
    with pytest.raises(UserError, match=r"nyu_v2_3task\.json is missing \(it says which frames"):
        dataset(root).index()


def test_real_frames(shared: Path) -> None:
    folder = shared / "data" / "nyuv2_adashare_samples"
    if not folder.is_dir():
        pytest.skip(f"no NYUv2 frames at {folder}")
    source = dataset(folder, height=480, width=640)
    towards_us = []
    for name in ("0061", "0295", "0774", "1314"):
        sample = source.load(name)
        validate_sample(sample, source.tasks, source.image_size)
        length = np.linalg.norm(sample["normals"], axis=0)
        code = np.asarray(Image.open(folder / "normal_mask" / f"{name}.png")).astype(float) / 127.5 - 1
        raw = np.linalg.norm(code, axis=2)[length > 0]
        assert np.median(raw) == pytest.approx(1, abs=0.02) and np.abs(length[length > 0] - 1).max() < 1e-5
        assert 0.55 < (length > 0).mean() < 0.8
        assert sample["depth"].min() > 0.7 and sample["depth"].max() < 6.9
        assert set(np.unique(sample["segmentation"])) <= {*range(40), 255} and 255 in sample["segmentation"]
        towards_us.append((sample["normals"][2][length > 0] < 0.1).mean())
        floor = (sample["segmentation"] == CLASSES_40.index("floor")) & (length > 0)
        if floor.sum() > 1000:  # y points down, so a floor's normal has a negative one
            assert sample["normals"][1][floor].mean() < -0.8
    assert min(towards_us) > 0.9


# The official file

SCENES = ["kitchen_0004", "bedroom_0001", "bedroom_0001", *(f"office_{n:04}" for n in range(6)), "bath_0001"]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames: 1 to 9 are for training, 10 and 2 for testing."""
    root = tmp_path_factory.mktemp("official")
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        frames = [official_frame(number) for number in range(10)]
        file["images"] = np.stack([image.transpose(2, 1, 0) for image, _, _ in frames])
        file["depths"] = np.stack([depth.T for _, depth, _ in frames])
        file["labels"] = np.stack([label.T for _, _, label in frames])
        scenes = file.create_dataset("scenes", (1, 10), dtype=h5py.ref_dtype)
        for number, name in enumerate(SCENES):
            file[f"#refs#/{number}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            scenes[0, number] = file[f"#refs#/{number}"].ref
    test, train = np.array([[10], [2]]), np.array([[1], *([n] for n in range(3, 10))])
    scipy_io.savemat(root / "splits.mat", {"trainNdxs": train, "testNdxs": test})
    scipy_io.savemat(root / "classMapping40.mat", {"mapClass": (np.arange(894) % 40 + 1)[None]})
    labels_13 = (np.arange(40) % 13 + 1)[None]
    scipy_io.savemat(root / "class13Mapping.mat", {"classMapping13": {"labels13": labels_13, "className": "x"}})
    return root


def official_frame(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frontal wall whose distance tells the frames apart, with one step; labels of all values."""
    rng = np.random.default_rng(number)
    depth = np.full(FRAME_SIZE, 2.0 + number / 10, np.float32)
    depth[:, 320:] += 1
    image = rng.integers(0, 256, (*FRAME_SIZE, 3)).astype(np.uint8)
    return image, depth, rng.integers(0, 895, FRAME_SIZE).astype(np.uint16)


@pytest.mark.parametrize("classes", [40, 13])
def test_official_layout(official: Path, classes: int) -> None:
    source = dataset(official, classes=classes, height=480, width=640)
    # Every seventh of the scenes of train (bedroom, kitchen, six offices): office_0004.
    assert source.index() == {"train": [1, 3, 4, 5, 6, 7, 9], "val": [8], "test": [10, 2]}
    assert source.scene(8) == "office_0004"
    sample = source.load(7)
    validate_sample(sample, source.tasks, source.image_size)
    image, depth, label = official_frame(6)
    assert np.array_equal(sample["image"], image) and np.array_equal(sample["depth"][0], depth)
    expected = (label.astype(int) - 1) % 40
    expected = np.where(label == 0, 255, expected % 13 if classes == 13 else expected)
    assert np.array_equal(sample["segmentation"], expected)
    normals = sample["normals"]
    assert np.allclose(normals[:, 240, 100], (0, 0, -1), atol=1e-5)
    assert not normals[:, :, 319:321].any() and not normals[:, 0].any()
    assert {path.name for path in source.files()} >= {"nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"}
    assert ("class13Mapping.mat" in {path.name for path in source.files()}) == (classes == 13)
    assert source.tasks[0].classes == (CLASSES_40 if classes == 40 else CLASSES_13)  # type: ignore[attr-defined]


def test_official_frames_are_resized(official: Path) -> None:
    source = dataset(official, height=120, width=160)
    sample = source.load(1)
    validate_sample(sample, source.tasks, source.image_size)
    assert np.array_equal(sample["depth"][0], official_frame(0)[1][2::4, 2::4])


@pytest.mark.parametrize(
    ("name", "why"),
    [("splits.mat", "training and which"), ("classMapping40.mat", "40 classes"), ("class13Mapping.mat", "to 13")],
)
def test_a_missing_companion_is_named_with_its_purpose(official: Path, tmp_path: Path, name: str, why: str) -> None:
    root = copied(official, tmp_path)
    (root / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing \(.*{why}"):
        source = dataset(root, classes=13)
        source.load(source.index()["train"][0])


def test_damaged_official_files_are_named(official: Path, tmp_path: Path) -> None:
    root = copied(official, tmp_path)
    (root / "splits.mat").unlink()
    (root / "splits.mat").write_bytes(b"no file of MATLAB")
    with pytest.raises(UserError, match=r"splits\.mat cannot be read"):
        dataset(root).index()
    (root / "nyu_depth_v2_labeled.mat").unlink()
    (root / "nyu_depth_v2_labeled.mat").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"labeled\.mat is no HDF5 file"):
        dataset(root).load(1)


def test_labels_beyond_the_table_are_refused(official: Path, tmp_path: Path) -> None:
    root = copied(official, tmp_path)
    path = root / "nyu_depth_v2_labeled.mat"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["labels"][0, 0, 0] = 900
        file["depths"][1, 0, 0] = np.nan
    with pytest.raises(BadSample, match=r"frame 1\) holds labels 0 to 900"):
        dataset(root).load(1)
    with pytest.raises(BadSample, match=r"frame 2\) holds NaN"):
        dataset(root).load(2)


def test_without_data_the_error_says_everything(tmp_path: Path) -> None:
    source = dataset(tmp_path)
    assert len(source.tasks) == 3
    with pytest.raises(UserError) as caught:
        source.index()
    for part in (str(tmp_path), "normal_mask", "class13Mapping.mat", "--data", "streets"):
        assert part in str(caught.value)
