"""The properties of datasets: every embedded dataset has them, and each planted fault is found by the property it breaks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from mtlbench.config.plugins import Registry
from mtlbench.conformance.datasets import SUITE, check_dataset
from mtlbench.conformance.example.coloured_boxes import ColouredBoxes
from mtlbench.conformance.result import PropertyResult
from mtlbench.contract import Card, Dataset, Hyper, Key, Sample, UserError
from mtlbench.tasks import Classification, Depth, MetricInfo, Segmentation, Task

SMALL: dict[str, dict[str, Any]] = {
    "streets": {"height": 32, "width": 64, "train": 6, "val": 3, "test": 3, "shifted": 2},
    "planted": {"train": 12, "val": 4, "test": 4},
    "multidigits": {"train": 30, "val": 10, "test": 10},
    "multidomain": {"copies": 1},
}
"""Options that make an embedded dataset small."""

EMBEDDED = {name: cls for name, cls in Registry().datasets().items() if cls.embedded}


def results_of(cls: type[Dataset], root: Path | None = None, **options: Any) -> dict[str, PropertyResult]:
    return {result.name: result for result in check_dataset(cls, root, options)}


def failures(results: Mapping[str, PropertyResult]) -> dict[str, str]:
    return {name: result.reason for name, result in results.items() if result.ok is False}


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_datasets_have_every_property(name: str) -> None:
    results = results_of(EMBEDDED[name], **SMALL.get(name, {}))
    assert failures(results) == {}
    # All but those for files, threads and multi-input data apply to every dataset.
    inapplicable = {result.name for result in results.values() if result.ok is None}
    assert inapplicable <= {"missing_root", "files", "threads", "own_images"}
    assert "threads" in inapplicable or EMBEDDED[name].thread_safe


def test_every_property_is_reported_once_with_a_sentence() -> None:
    results = list(check_dataset(ColouredBoxes, None, {}))
    assert [result.name for result in results] == [each.name for each in SUITE.properties]
    assert len({result.name for result in results}) == len(results)
    assert all(result.description.endswith(".") and "\n" not in result.description for result in results)
    assert all(result.reason for result in results if result.ok is not True)


def test_unknown_options_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match="no option 'size'"):
        list(check_dataset(ColouredBoxes, None, {"size": 3}))


# Datasets with files


def read(path: Path) -> Sample:
    image = np.frombuffer(path.read_bytes(), np.uint8).reshape(8, 8, 3)
    return {"image": image, "kind": np.array(path.stem[-1], np.int16)}


class Folder(Dataset):
    """One file per sample: its name ends in the class."""

    card: ClassVar[Card] = Card("Folder", "Arrays.", "made up", "free", obtain="Make them.", tree="ROOT/SPLIT/N-CLASS.npy")
    thread_safe: ClassVar[bool] = True

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (Classification("kind", 3),)

    @property
    def image_size(self) -> tuple[int, int]:
        return 8, 8

    def index(self) -> Mapping[str, Sequence[Key]]:
        if self.root is None or not self.root.is_dir():
            raise UserError(f"folder: nothing is in {self.root}.\nExpected:\n{self.card.tree}")
        return {split: sorted(path.name for path in (self.root / split).glob("*.npy")) for split in ("train", "val", "test")}

    def load(self, key: Key) -> Sample:
        (path,) = (path for path in self.files() if path.name == key)
        return read(path)

    def files(self) -> Sequence[Path]:
        assert self.root is not None
        return sorted(self.root.glob("*/*.npy"))

    def scene(self, key: Key) -> str | None:
        return str(key)[-5]  # the class


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, split in enumerate(("train", "val", "test")):
        (tmp_path / split).mkdir()
        for number in range(6):
            pixels = np.random.default_rng([place, number]).integers(0, 256, (8, 8, 3), np.uint8)
            (tmp_path / split / f"{split}{number}-{number % 3}.npy").write_bytes(pixels.tobytes())
    return tmp_path


def test_a_dataset_with_files_has_every_property_that_applies(root: Path) -> None:
    results = results_of(Folder, root)
    assert failures(results) == {} and {name for name, result in results.items() if result.ok is None} == {"own_images"}
    assert "train and val share 3" in results["scenes"].reason and "val and test share 3" in results["scenes"].reason


def test_without_files_only_the_index_fails(tmp_path: Path) -> None:
    results = results_of(Folder, tmp_path / "nowhere")
    assert failures(results).keys() == {"index"}
    assert str(tmp_path / "nowhere") in results["index"].reason and "\n" not in results["index"].reason
    assert results["samples"].ok is None and "see `index`" in results["samples"].reason


class ErrorWithoutPath(Folder):
    """Says that files are missing, and not where."""

    def index(self) -> Mapping[str, Sequence[Key]]:
        try:
            return super().index()
        except UserError:
            raise UserError("The files are missing.") from None


class ErrorOfPython(Folder):
    """Lets an error of Python through."""

    def index(self) -> Mapping[str, Sequence[Key]]:
        assert self.root is not None
        next(iter(self.root.iterdir()))
        return super().index()


class EmptyTree(Folder):
    """Does not say how its files lie."""

    card: ClassVar[Card] = Card("Folder", "Arrays.", "made up", "free", obtain="Make them.")


class HiddenFiles(Folder):
    """Does not name the files that it reads."""

    def load(self, key: Key) -> Sample:
        (path,) = (path for path in super().files() if path.name == key)
        return read(path)

    def files(self) -> Sequence[Path]:
        return ()


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        (ErrorWithoutPath, "missing_root", "without naming"),
        (ErrorOfPython, "missing_root", "raises FileNotFoundError"),
        (EmptyTree, "card", "tree must not be empty"),
        (HiddenFiles, "files", "would not change the fingerprint"),
    ],
)
def test_faults_of_datasets_with_files_are_found(root: Path, cls: type[Dataset], name: str, message: str) -> None:
    reasons = failures(results_of(cls, root))
    assert reasons.keys() == {name} and message in reasons[name]


# Faults of generated datasets: each breaks one property


class NoValidation(ColouredBoxes):
    def index(self) -> Mapping[str, Sequence[Key]]:
        return {split: keys for split, keys in super().index().items() if split != "val"}


class RepeatedKey(ColouredBoxes):
    def index(self) -> Mapping[str, Sequence[Key]]:
        return {**super().index(), "val": [("val", 0), ("val", 0), ("val", 1)]}


class OddlyNamedSplit(ColouredBoxes):
    def index(self) -> Mapping[str, Sequence[Key]]:
        return {**super().index(), "night": [("test", 3)]}


class ShuffledIndex(ColouredBoxes):
    def index(self) -> Mapping[str, Sequence[Key]]:
        return {split: list(np.random.permutation(len(keys))) for split, keys in super().index().items()}

    def load(self, key: Key) -> Sample:
        return super().load(("test", key))


class Leak(ColouredBoxes):
    def index(self) -> Mapping[str, Sequence[Key]]:
        return {**super().index(), "test": [("test", 0), ("train", 1)]}


class ListOfScenes(ColouredBoxes):
    def scene(self, key: Key) -> Any:
        return ["kitchen"]


class NoLicence(ColouredBoxes):
    card: ClassVar[Card] = Card("Boxes", "Boxes.", "made up", " ")


class BytesForStd(ColouredBoxes):
    std: ClassVar[tuple[float, float, float]] = (58.4, 57.1, 57.4)


class UnknownSetting(ColouredBoxes):
    defaults: ClassVar[Mapping[str, Any]] = {"epoch": 4}


class TwoTasksOfOneName(ColouredBoxes):
    @property
    def tasks(self) -> tuple[Task, ...]:
        return (*super().tasks, Depth("depth", inverse=True))


class ForeignPrimary(Segmentation):
    @property
    def primary(self) -> MetricInfo:
        return MetricInfo("dice", True, 1.0)


class PrimaryThatIsNoMetric(ColouredBoxes):
    @property
    def tasks(self) -> tuple[Task, ...]:
        return (ForeignPrimary("segmentation", 4), *super().tasks[1:])


class DoubleDepth(ColouredBoxes):
    def load(self, key: Key) -> Sample:
        sample = super().load(key)
        return {name: array.astype(np.float64) if name == "depth" else array for name, array in sample.items()}


class OneClassTooMany(ColouredBoxes):
    def load(self, key: Key) -> Sample:
        sample = super().load(key)
        return {**sample, "segmentation": sample["segmentation"] + np.uint8(1)}


class NeverLabelled(ColouredBoxes):
    def load(self, key: Key) -> Sample:
        return {name: array for name, array in super().load(key).items() if name != "normals"}


class MultiInputWithEverything(ColouredBoxes):
    multi_input: ClassVar[bool] = True


class GlobalRandom(ColouredBoxes):
    def load(self, key: Key) -> Sample:
        sample = super().load(key)
        return {**sample, "image": sample["image"] ^ np.random.randint(0, 2, sample["image"].shape, np.uint8)}


class OwnGenerator(ColouredBoxes):
    """The order of loading decides what a sample is."""

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self.generator = np.random.default_rng(0)

    def load(self, key: Key) -> Sample:
        sample = super().load(key)
        return {**sample, "image": sample["image"] ^ self.generator.integers(0, 2, sample["image"].shape, np.uint8)}


class SharedAttribute(ColouredBoxes):
    """Threads overwrite what another one is about to read."""

    thread_safe: ClassVar[bool] = True

    def load(self, key: Key) -> Sample:
        self.key = key
        time.sleep(0.002)
        return super().load(self.key)


class NoJson(ColouredBoxes):
    def describe(self) -> dict[str, Any]:
        return {"root": Path("x")}


class HiddenOption(ColouredBoxes):
    """An option changes the samples and is not described."""

    brightness: int = Hyper(10, ge=0, le=20, help="added to every pixel")

    def load(self, key: Key) -> Sample:
        sample = super().load(key)
        return {**sample, "image": sample["image"] // 2 + np.uint8(self.brightness)}

    def describe(self) -> dict[str, Any]:
        return {}


class CountsInvalid(Depth):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute difference, over all pixels."""
        return (prediction - target).abs().mean()


class UndefinedLoss(Depth):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Logarithmic difference, undefined for predictions below 0."""
        valid = target > 0
        ratio = torch.log(torch.where(valid, prediction, 1)) - torch.log(torch.where(valid, target, 1))
        return ratio.abs().sum() / valid.sum().clamp(min=1)


class Detached(Depth):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute difference, without a graph where there are labels."""
        loss = super().loss(prediction, target)
        return loss.detach() if (target > 0).any() else loss


class FlatConstant(Depth):
    def constant_prediction(self, constant: list[float], target: Tensor) -> Tensor:
        return torch.full((len(target), 1), constant[0])


class NegativeWhenFlipped(Depth):
    def augmented(self, target: Tensor, zoom: Tensor, flipped: Tensor) -> Tensor:
        return torch.where(flipped.reshape(-1, 1, 1, 1), -target, target)


def with_depth(task: type[Depth]) -> type[ColouredBoxes]:
    """Coloured boxes with another kind of depth."""

    class Boxes(ColouredBoxes):
        @property
        def tasks(self) -> tuple[Task, ...]:
            return tuple(task("depth") if each.name == "depth" else each for each in super().tasks)

    return Boxes


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        (NoValidation, "index", "no samples for val"),
        (RepeatedKey, "index", "several samples named 'val/0'"),
        (OddlyNamedSplit, "index", "are named test-"),
        (ShuffledIndex, "index", "another order"),
        (Leak, "disjoint_splits", "train and test have 1 samples in common"),
        (ListOfScenes, "scenes", "is a list"),
        (NoLicence, "card", "licence must not be empty"),
        (BytesForStd, "constants", "expected three numbers in (0, 1]"),
        (UnknownSetting, "constants", "no setting 'epoch'"),
        (TwoTasksOfOneName, "tasks", "must be unique (and not 'image'): depth"),
        (PrimaryThatIsNoMetric, "tasks", "'dice' is none of miou, pixel_accuracy"),
        (DoubleDepth, "samples", "depth is float64"),
        (OneClassTooMany, "samples", "out of range: 4"),
        (NeverLabelled, "labels", "normals: no label among 12 samples"),
        (MultiInputWithEverything, "own_images", "expected one"),
        (GlobalRandom, "repeatable", "image of test/3 is another one"),
        (OwnGenerator, "repeatable", "in another order"),
        (SharedAttribute, "threads", "set thread_safe = False"),
        (NoJson, "description", "is no JSON"),
        (HiddenOption, "description", "brightness = 11 changes the samples"),
        (with_depth(CountsInvalid), "unlabelled", "expected 0, with a graph"),
        (with_depth(UndefinedLoss), "losses", "the loss is nan"),
        (with_depth(Detached), "losses", "does not depend on the prediction"),
        (with_depth(FlatConstant), "reference_constant", "has shape [4, 1]"),
        (with_depth(NegativeWhenFlipped), "augmentation", "holds negative values"),
    ],
)
def test_faults_are_found(cls: type[Dataset], name: str, message: str) -> None:
    reasons = failures(results_of(cls))
    assert name in reasons and message in reasons[name], reasons
    assert "\n" not in reasons[name]


def test_what_depends_on_broken_samples_is_not_reported_again() -> None:
    class Unreadable(ColouredBoxes):
        def load(self, key: Key) -> Sample:
            raise KeyError("x")

    results = results_of(Unreadable)
    assert failures(results).keys() == {"samples"} and "train/0" in results["samples"].reason
    assert results["losses"].ok is None and "see `samples`" in results["losses"].reason
