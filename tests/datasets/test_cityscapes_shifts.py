"""Cityscapes before resizing, and its shifted test sets, from small trees in exactly their layouts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.contract.batch import Batch
from mtlbench.data.store import Prepared, prepare
from mtlbench.datasets.cityscapes import Cityscapes
from mtlbench.errors import UserError
from mtlbench.measure.evaluator import score
from mtlbench.measure.native import NativeImages, serves_native
from mtlbench.measure.skill_scale import SkillScale

SIZE = (32, 64)
NATIVE, NATIVE_ACDC = (64, 128), (54, 96)
FRAMES = {
    "train": ("aachen_000000_000019", "zurich_000002_000019"),
    "val": ("lindau_000000_000019", "munster_000003_000019"),
}
RAINS = ("alpha_0.01_beta_0.005_dropsize_0.01", "alpha_0.03_beta_0.015_dropsize_0.002")
TASKS = ("segmentation", "depth", "contours", "normals", "reconstruction")
FOGGY = [f"test-foggy-{beta}" for beta in ("0.005", "0.01", "0.02")]
RAIN = ["test-rain-0.01", "test-rain-0.03"]


def dataset(root: Path, **options: object) -> Cityscapes:
    given = {"height": SIZE[0], "width": SIZE[1], **options}
    return Cityscapes(root, Cityscapes.configure(given, "cityscapes"))


def picture(name: str, size: tuple[int, int] = NATIVE) -> np.ndarray:
    """The made-up image of a file's name."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, (*size, 3), np.uint8)


def ids_of(stem: str, size: tuple[int, int] = NATIVE) -> np.ndarray:
    return np.random.default_rng([*stem.encode(), 0]).integers(0, 34, size).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_official(root: Path) -> Path:
    for split, stems in FRAMES.items():
        for stem in stems:
            city = stem.partition("_")[0]
            save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", picture(stem))
            save(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", ids_of(stem))
            # A plane, so that there are normals: from 8 pixels of disparity, 59 m, at the top to more at the bottom.
            raw = np.tile(np.linspace(8, 40 + len(stem), NATIVE[0])[:, None] * 256, NATIVE[1]).astype(np.uint16)
            save(root / "disparity" / split / city / f"{stem}_disparity.png", raw)
    return root


def write_synthetic(root: Path, split: str = "val") -> None:
    for stem in FRAMES[split]:
        city = stem.partition("_")[0]
        names = [f"foggy/{stem}_leftImg8bit_foggy_beta_{beta}" for beta in ("0.005", "0.01", "0.02")]
        names += [f"rain/{stem}_leftImg8bit_rain_{rain}_pattern_{number}" for rain in RAINS for number in (1, 12)]
        for name in names:
            weather, _, file = name.partition("/")
            save(root / f"leftImg8bit_{weather}" / split / city / f"{file}.png", picture(file))


def write_acdc(root: Path, condition: str, sequence: str, split: str = "val") -> None:
    for number in (41, 159):
        stem = f"{sequence}_frame_{number:06}"
        save(root / "rgb_anon" / condition / split / sequence / f"{stem}_rgb_anon.png", picture(stem, NATIVE_ACDC))
        labels = root / "gt" / condition / split / sequence
        save(labels / f"{stem}_gt_labelIds.png", ids_of(stem, NATIVE_ACDC))
        save(labels / f"{stem}_gt_labelColor.png", picture(stem, NATIVE_ACDC))
        reference = root / "rgb_anon" / condition / f"{split}_ref" / sequence
        save(reference / f"{stem}_rgb_ref_anon.png", picture(stem, NATIVE_ACDC))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_official(tmp_path_factory.mktemp("shifted"))
    for split in ("train", "val"):  # what is not in val must not be read
        write_synthetic(root, split)
    write_acdc(root, "fog", "GOPR0475", "train")
    write_acdc(root, "fog", "GOPR0476")
    write_acdc(root, "night", "GP010376")
    (root / "leftImg8bit_foggy" / "val" / "lindau" / "notes.png").write_text("no image")
    return root


@pytest.fixture(scope="module")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(dataset(tree, tasks_used=TASKS), "cityscapes", tmp_path_factory.mktemp("cache"))


def test_folders_that_are_absent_give_no_split(tree: Path, tmp_path: Path) -> None:
    root = write_official(tmp_path)
    clean = dataset(root)
    assert list(clean.index()) == ["train", "val", "test"] and len(clean.files()) == 4 * 3
    write_acdc(root, "snow", "GOPR0122")
    (root / "leftImg8bit_foggy" / "val" / "lindau").mkdir(parents=True)
    assert list(clean.index()) == ["train", "val", "test", "test-acdc-snow"]
    assert list(dataset(tree).index())[3:] == ["test-acdc-fog", "test-acdc-night", *FOGGY, *RAIN]
    assert list(dataset(tree, tasks_used=("depth",)).index())[3:] == [*FOGGY, *RAIN]


def test_synthetic_weather_keeps_the_labels_and_scenes_of_the_clean_frames(prepared: Prepared) -> None:
    test = prepared.splits["test"]
    clean = test.batch(torch.arange(len(test)))
    assert test.scenes == ("lindau_000000", "munster_000003")
    for name in (*FOGGY, *RAIN):
        split = prepared.splits[name]
        patterns = 1 if name in FOGGY else 2
        rows = torch.arange(2).repeat_interleave(patterns)
        assert split.scenes == tuple(test.scenes[row] for row in rows)
        batch = split.batch(torch.arange(len(split)))
        for task in ("segmentation", "depth", "contours", "normals"):
            assert torch.equal(batch.targets[task], clean.targets[task][rows])
        for row, sample in enumerate(split.ids):
            file = sample.split("/")[-1]
            assert name.rpartition("-")[2] in file.split("_") and file.startswith(test.ids[rows[row]].split("/")[-1])
            averaged = picture(file).reshape(SIZE[0], 2, SIZE[1], 2, 3).mean((1, 3))
            assert np.abs(split.images[row] - averaged).max() <= 1  # rounded in both directions


def test_acdc_is_labelled_for_segmentation_only(prepared: Prepared) -> None:
    for name, sequence in (("test-acdc-fog", "GOPR0476"), ("test-acdc-night", "GP010376")):
        split = prepared.splits[name]
        assert split.ids == tuple(f"{name[5:]}/{sequence}/{sequence}_frame_{number:06}" for number in (41, 159))
        assert split.scenes == (sequence, sequence)
        labelled = {task: bool(flags.any()) for task, flags in split.labelled.items()}
        assert labelled == {task: task in ("segmentation", "reconstruction") for task in TASKS}
        rows = ((np.arange(SIZE[0]) + 0.5) * NATIVE_ACDC[0] / SIZE[0]).astype(int)
        columns = ((np.arange(SIZE[1]) + 0.5) * NATIVE_ACDC[1] / SIZE[1]).astype(int)
        ids = ids_of(f"{sequence}_frame_000041", NATIVE_ACDC)[rows[:, None], columns]
        label = split.batch(torch.tensor([0])).targets["segmentation"][0].numpy()
        assert set(label[ids == 7]) == {0} and set(label[ids == 33]) == {18}
        assert set(label[np.isin(ids, (0, 1, 9, 29))]) == {255}


def test_the_fingerprint_covers_what_is_read_of_the_shifted_sets(tree: Path, prepared: Prepared, tmp_path: Path) -> None:
    files = [path.relative_to(tree).as_posix() for path in dataset(tree).files()]
    assert len(set(files)) == len(files) == 4 * 3 + 2 * 3 + 2 * 4 + 2 * 2 * 2
    assert not any("train" in file and not file.startswith(("leftImg8bit/", "gtFine", "disp")) for file in files)
    clean = prepare(dataset(write_official(tmp_path / "raw"), tasks_used=TASKS), "cityscapes", tmp_path / "cache")
    assert clean.fingerprint != prepared.fingerprint
    for name in ("train", "val", "test"):
        assert np.array_equal(clean.splits[name].images, prepared.splits[name].images)


def test_acdc_without_its_labels_says_what_is_missing(tmp_path: Path) -> None:
    root = write_official(tmp_path)
    write_acdc(root, "rain", "GP010400")
    (root / "gt" / "rain").rename(root / "gt" / "elsewhere")
    with pytest.raises(UserError, match=r"gt/rain/val is missing"):
        dataset(root).index()


def test_a_foggy_frame_without_a_clean_one_is_named(tmp_path: Path) -> None:
    root = write_official(tmp_path)
    stem = "lindau_000009_000019"
    save(root / "leftImg8bit_foggy" / "val" / "lindau" / f"{stem}_leftImg8bit_foggy_beta_0.01.png", picture(stem))
    with pytest.raises(UserError, match=rf"{stem}_gtFine_labelIds\.png is missing"):
        prepare(dataset(root), "cityscapes", tmp_path / "cache")


def guesses(prepared: Prepared, name: str) -> Iterator[tuple[Batch, dict[str, torch.Tensor]]]:
    """Random predictions for one split, an image at a time."""
    split, generator = prepared.splits[name], torch.Generator().manual_seed(0)
    for index in range(len(split)):
        yield (
            split.batch(torch.tensor([index])),
            {task.name: torch.randn(1, task.channels, *SIZE, generator=generator) for task in split.tasks},
        )


def test_a_task_without_labels_has_no_skill_and_spoils_no_other(prepared: Prepared) -> None:
    tasks = prepared.splits["test"].tasks
    scale = SkillScale(tasks, prepared.splits["train"])
    for name in ("test-acdc-fog", FOGGY[0]):
        metrics, images = score(tasks, guesses(prepared, name), keep_images=True)
        constant = scale.constant_metrics(prepared.splits[name])
        evaluation = scale.evaluation(metrics, prepared.splits[name])
        unlabelled = {"depth", "contours", "normals"} if "acdc" in name else set[str]()
        assert _all_nan(metrics) == unlabelled == {task for task, value in constant.items() if math.isnan(value)}
        assert set(evaluation.skill) == set(TASKS) - unlabelled
        assert math.isclose(evaluation.mean_skill, sum(evaluation.skill.values()) / len(evaluation.skill))
        assert all(math.isfinite(value) for task in set(TASKS) - unlabelled for value in metrics[task].values())
        assert all(len(values) == len(prepared.splits[name]) for values in images["depth"].values())


def _all_nan(metrics: Mapping[str, Mapping[str, float]]) -> set[str]:
    return {task for task, values in metrics.items() if all(math.isnan(value) for value in values.values())}


def test_native_images_are_what_loading_resizes(tree: Path) -> None:
    source = dataset(tree)
    assert serves_native(source)
    for name, size in (("test", NATIVE), (FOGGY[2], NATIVE), ("test-acdc-fog", NATIVE_ACDC)):
        for key in source.index()[name]:
            native = source.native_image(key)
            assert native.dtype == np.uint8 and native.shape == (*size, 3)
            assert np.array_equal(source.fit_image(native), source.load(key)["image"])
    key = source.index()["test"][0]
    assert np.array_equal(source.native_image(key), picture(FRAMES["val"][0]))
    corrupted = NativeImages(source, "test").corrupted(["/".join(map(str, key))], "gaussian_noise", 5, dataset="cityscapes")
    assert corrupted.shape == (1, 3, *SIZE) and not np.array_equal(corrupted[0].permute(1, 2, 0), source.load(key)["image"])


def test_the_preprocessed_layout_has_no_native_images(tmp_path: Path) -> None:
    (tmp_path / "train" / "image").mkdir(parents=True)
    assert not serves_native(dataset(tmp_path)) and dataset(tmp_path).describe()["layout"] == "preprocessed"
