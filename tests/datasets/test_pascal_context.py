"""PASCAL-Context with five tasks, from a small tree in the layout of PASCAL-MT."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.dataset import BadSample
from mtlbench.data.store import prepare
from mtlbench.datasets.pascal_context import PascalContext
from mtlbench.errors import UserError

scipy_io = pytest.importorskip("scipy.io")

SIDE = 32
NAMES = [f"2008_{number:06}" for number in range(10)]
PERSON, DOG = 15, 12
BED, TV, SKY = 34, 427, 360
CONTEXTS = {"bed": BED, "tvmonitor": TV, "sky": SKY, "unknown": 458}
PART_NAMES = {"hair": 1, "torso": 2, "ruarm": 3, "lhand": 4, "luleg": 5, "rfoot": 6}


def dataset(root: Path, **options: object) -> PascalContext:
    return PascalContext(root, PascalContext.configure({"size": SIDE, **options}, "pascal_context"))


def raw(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    normals = rng.normal(size=(SIDE, SIDE, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return {
        "label": rng.choice([*range(21), 255], (SIDE, SIDE)).astype(np.uint8),
        "saliency": rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8),
        "normals": np.rint((normals + 1) * 127.5).astype(np.uint8),
        "context": rng.choice([BED, TV, SKY], (SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1).astype(np.uint16),
    }


def structs(rows: list[dict[str, object]], names: tuple[str, ...]) -> np.ndarray:
    """A 1×n struct array, as MATLAB has them."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for at, row in enumerate(rows):
        for name in names:
            array[name][0, at] = row[name]
    return array


def annotation(kind: int, parts: dict[str, np.ndarray]) -> np.ndarray:
    part_structs = structs([{"part_name": name, "mask": mask} for name, mask in parts.items()], ("part_name", "mask"))
    whole = np.ones((SIDE, SIDE), np.uint8)
    thing = {"class": "x", "class_ind": kind, "mask": whole, "parts": part_structs if parts else np.zeros((0, 0))}
    return structs(
        [{"imname": "x", "objects": structs([thing], ("class", "class_ind", "mask", "parts"))}], ("imname", "objects")
    )


def part_masks() -> dict[str, np.ndarray]:
    masks = {}
    for row, name in enumerate(PART_NAMES):
        masks[name] = np.zeros((SIDE, SIDE), np.uint8)
        masks[name][4 * row : 4 * row + 4, :10] = 1
    return masks


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "PASCALContext"
    for folder in ("JPEGImages", "ImageSets/Context", "semseg/VOC12", "semseg/pascal-context", "human_parts"):
        (root / folder).mkdir(parents=True)
    for folder in ("sal_distill", "normals_distill", "pascal-context/trainval", "json"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        arrays = raw(number)
        Image.fromarray(np.full((SIDE, SIDE, 3), 20 * number, np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        label = Image.fromarray(arrays["label"], mode="P")
        label.putpalette([value % 256 for value in range(768)])
        label.save(root / "semseg" / ("VOC12" if number % 2 else "pascal-context") / f"{name}.png")
        Image.fromarray(arrays["saliency"]).save(root / "sal_distill" / f"{name}.png")
        Image.fromarray(arrays["normals"]).save(root / "normals_distill" / f"{name}.png")
        scipy_io.savemat(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": arrays["context"]})
        parts = annotation(PERSON, part_masks()) if number % 3 == 0 else annotation(DOG, {"head": part_masks()["hair"]})
        scipy_io.savemat(root / "human_parts" / f"{name}.mat", {"anno": parts})
    (root / "ImageSets" / "Context" / "train.txt").write_text("\n".join(NAMES[:8]) + "\n")
    (root / "ImageSets" / "Context" / "val.txt").write_text("\n".join(NAMES[8:]) + "\n")
    (root / "json" / "nyu_classes.json").write_text(json.dumps({"bed": 3, "television": 9, "unknown": 0}))
    (root / "json" / "context_classes.json").write_text(
        json.dumps({"bed": BED, "tvmonitor": TV, "sky": SKY, "unknown": 458})
    )
    return root


def test_values_masks_and_splits(tree: Path, tmp_path: Path) -> None:
    source = dataset(tree.parent)
    prepared = prepare(source, "pascal_context", tmp_path / "cache")
    ids = {name: split.ids for name, split in prepared.splits.items()}
    assert ids["val"] == (NAMES[6],) and ids["test"] == tuple(NAMES[8:])
    assert ids["train"] == (*NAMES[:6], NAMES[7]) and "every 7th" in source.split_rule()
    assert [task.weight for task in source.tasks] == [1, 2, 5, 10, 50]
    train = prepared.splits["train"]
    batch = train.batch(torch.arange(7))
    assert train.labelled["human_parts"].tolist() == [True, False, False, True, False, False, False]
    for row, number in enumerate((0, 1, 2, 3, 4, 5, 7)):
        arrays = raw(number)
        assert abs(int(train.images[row, 3, 4, 0]) - 20 * number) <= 2
        assert np.array_equal(batch.targets["segmentation"][row], arrays["label"])
        assert np.array_equal(batch.targets["saliency"][row, 0], arrays["saliency"] > 127)
        normals = batch.targets["normals"][row].numpy()
        assert np.array_equal((normals != 0).any(0), arrays["context"] != SKY)
        code = arrays["normals"].transpose(2, 0, 1) / 127.5 - 1
        cosine = (code * normals).sum(0) / np.linalg.norm(code, axis=0)
        assert cosine[arrays["context"] != SKY].min() > 0.9999
        edge, context = batch.targets["edges"][row, 0].numpy(), arrays["context"]
        assert edge[12, 7] == (context[12, 7] != context[12, 8]) and not edge[::8, 1::8].any()
    parts = batch.targets["human_parts"][0].numpy()
    assert [int(parts[4 * row + 1, 3]) for row in range(6)] == list(PART_NAMES.values()) and not parts[:, 10:].any()
    assert (batch.targets["human_parts"][1] == 255).all()
    assert len(source.files()) == 10 * 6 + 4


def test_tasks_can_be_chosen(tree: Path) -> None:
    source = dataset(tree, tasks_used=("saliency", "edges"), size=64)
    sample = source.load(NAMES[0])
    assert set(sample) == {"image", "saliency", "edges"} and sample["edges"].shape == (1, 64, 64)
    (tree / "json" / "nyu_classes.json").unlink()
    source.load(NAMES[0])
    with pytest.raises(UserError, match=r"nyu_classes\.json is missing: it says where normals are valid"):
        dataset(tree).load(NAMES[0])


FAULTS = {
    "cut": ("JPEGImages/{}.jpg", b"cut", "no image file"),
    "range": ("semseg/pascal-context/{}.png", np.full((SIDE, SIDE), 30, np.uint8), "labels 30, expected 0 to 20"),
    "shape": ("sal_distill/{}.png", np.zeros((9, 9), np.uint8), r"shape \[9, 9\]"),
    "grey": ("normals_distill/{}.png", np.zeros((SIDE, SIDE), np.uint8), "expected RGB"),
    "gone": ("human_parts/{}.mat", None, "is missing"),
    "damaged": ("pascal-context/trainval/{}.mat", b"nothing", "cannot be read as a MATLAB file"),
    "part": ("human_parts/{}.mat", {"anno": annotation(PERSON, {"tail": part_masks()["hair"]})}, "'tail'"),
    "other": ("pascal-context/trainval/{}.mat", {"x": 1}, "holds no LabelMap"),
    "plain": ("human_parts/{}.mat", {"anno": np.zeros((1, 1))}, "not laid out as PASCAL-Part"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_files_are_named(tree: Path, fault: str) -> None:
    template, value, message = FAULTS[fault]
    path = tree / template.format(NAMES[0])
    path.unlink()
    if isinstance(value, bytes):
        path.write_bytes(value)
    elif isinstance(value, dict):
        scipy_io.savemat(path, value)
    elif isinstance(value, np.ndarray):
        Image.fromarray(value).save(path)
    with pytest.raises(BadSample, match=message) as caught:
        dataset(tree).load(NAMES[0])
    assert str(path) in str(caught.value)
    dataset(tree).load(NAMES[1])


def test_what_is_missing_is_named(tree: Path, tmp_path: Path) -> None:
    (tree / "ImageSets" / "Context" / "val.txt").unlink()
    with pytest.raises(UserError, match=r"val\.txt is missing \(it names the images of the official val\)"):
        dataset(tree).index()
    with pytest.raises(UserError, match="pascal_context was not found"):
        dataset(tmp_path / "nowhere").index()
