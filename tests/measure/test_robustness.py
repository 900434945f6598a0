"""Evaluation under corruption: what it depends on, what it adds up to, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mtlbench.config.settings import Settings, make_settings
from mtlbench.contract.dataset import Augmentation, Card, Dataset, Key, Sample
from mtlbench.errors import UserError
from mtlbench.measure.corruptions import COMMON, EXTRA, QUICK
from mtlbench.measure.evaluator import condition_cell
from mtlbench.measure.native import NativeImages
from mtlbench.measure.robustness import as_bytes, as_image
from mtlbench.measure.robustness_suite import OVERLAPS, Suite, choosing_suite, disqualified, reported_suite, robustness_card
from mtlbench.records.robustness import CorruptionScores
from mtlbench.statistics.robustness_delta import corrupted_delta
from mtlbench.statistics.robustness_summary import skill_at
from mtlbench.tasks.base import Task
from tests.measure.small_network import HEIGHT, TASKS, WIDTH, example

ALL_FIFTEEN = Suite("full", COMMON, (1, 3, 5))


class Tiny(Dataset):
    """A dataset of so many pixels."""

    card: ClassVar[Card] = Card("Tiny", "Random arrays.", "made up", "free")

    @property
    def tasks(self) -> tuple[Task, ...]:
        return TASKS

    @property
    def image_size(self) -> tuple[int, int]:
        return HEIGHT, WIDTH

    def index(self) -> Mapping[str, Sequence[Key]]:
        return {"test": [("test", number) for number in range(2)]}

    def load(self, key: Key) -> Sample:
        raise NotImplementedError


class Small(Tiny):
    @property
    def image_size(self) -> tuple[int, int]:
        return 31, 64


class TinyNative(Tiny):
    """Serves images of twice the size, too."""

    def native_image(self, key: Key) -> np.ndarray:
        assert isinstance(key, tuple)
        return np.random.default_rng(int(key[1])).integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), np.uint8)

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        return image.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3)).round().astype(np.uint8)


def numbers(cells: Mapping[str, Any]) -> list[float]:
    """Every metric and skill of some cells, in a fixed order."""
    return [
        value
        for name in sorted(cells)
        for severity in sorted(cells[name])
        for part in ("metrics", "skill")
        for task in sorted(cells[name][severity][part])
        for value in _values(cells[name][severity][part][task])
    ]


def _values(entry: float | Mapping[str, float]) -> list[float]:
    return [entry[name] for name in sorted(entry)] if isinstance(entry, Mapping) else [entry]


# -- what a cell depends on -------------------------------------------------------------------------------------------


def test_metrics_do_not_depend_on_batch_size_or_order() -> None:
    suite = Suite("some", ("gaussian_noise", "glass_blur", "motion_blur", "snow", "frost"), (3,))
    backwards = list(range(33))[::-1]
    expected = numbers(example(32).cells(suite))
    for other in (example(1), example(7), example(7, order=backwards)):
        assert numbers(other.cells(suite)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_severity_0_is_the_clean_evaluation_exactly() -> None:
    examined = example(8, images=12)
    clean = examined.evaluate()
    for name in ("fog", "jpeg_compression"):
        assert condition_cell(examined.evaluate(examined.corrupted(name, 0))) == condition_cell(clean)


def test_bytes_and_back_are_the_batch_s_own_image_to_the_bit() -> None:
    examined = example()
    batch = examined.split.batch(torch.arange(9))
    pixels = as_bytes(batch.image)
    assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), examined.split.images[:9])
    again = as_image(pixels)
    assert torch.equal(again, batch.image)
    assert again.stride() == batch.image.stride()


def test_images_are_keyed_by_dataset_and_id() -> None:
    examined = example()
    batch = examined.split.batch(torch.arange(4))
    seen = examined.corrupted("gaussian_noise", 3)(batch)
    swapped = example(order=[3, 2, 1, 0])
    assert torch.equal(swapped.corrupted("gaussian_noise", 3)(swapped.split.batch(torch.arange(4))).flip(0), seen)


def test_targets_stay_clean() -> None:
    """A corrupted image is far from the target of auto-encoding, which is the clean one."""
    examined = example(images=8)
    seen: list[torch.Tensor] = []

    def change(batch: Any) -> torch.Tensor:
        changed = examined.corrupted("contrast", 5)(batch)
        assert torch.equal(batch.targets["image_again"], batch.image)
        assert not torch.equal(changed, batch.image)
        seen.append(changed)
        return changed

    examined.evaluate(change)
    assert seen


def test_skill_falls_with_severity_on_average() -> None:
    """The network here gives the image back, as well as it may when it sees a corrupted one."""

    class Identity(torch.nn.Module):
        def forward(self, image: torch.Tensor, tasks: object = None, rows: object = None) -> dict[str, torch.Tensor]:
            ones = {"segmentation": 4, "depth": 1}
            dense = {name: image.new_ones(len(image), count, HEIGHT, WIDTH) for name, count in ones.items()}
            return dense | {"kind": image.new_ones(len(image), 3), "image_again": image}

    examined = example(images=8)
    object.__setattr__(examined, "network", Identity())
    robustness = CorruptionScores.model_validate(
        {
            "corruptions": ALL_FIFTEEN.describe(),
            "severities": list(ALL_FIFTEEN.severities),
            "cells": examined.cells(ALL_FIFTEEN),
        }
    )
    by_severity = [examined.evaluate().skill["image_again"]]
    by_severity += [skill_at(robustness, severity, "image_again") for severity in (1, 3, 5)]
    assert by_severity[0] == 1
    assert by_severity == sorted(by_severity, reverse=True)


# -- what is evaluated ------------------------------------------------------------------------------------------------


def test_suites() -> None:
    full = reported_suite(Settings(robustness="full"), Augmentation())
    quick = reported_suite(Settings(robustness="quick"), Augmentation())
    assert full is not None and len(full.cells()) == 75 and full.corruptions == COMMON
    assert quick is not None and len(quick.cells()) == 18 and quick.corruptions == QUICK and quick.severities == (1, 3, 5)
    assert reported_suite(Settings(), Augmentation()) is None
    assert choosing_suite(Settings(robustness="full")) is None
    extra = choosing_suite(Settings(robustness_val=True))
    assert extra is not None and extra.corruptions == EXTRA and len(extra.cells()) == 20


def test_extra_corruptions_are_never_reported_on_test() -> None:
    extra = Suite("extra", EXTRA[:1], (1,))
    assert example(images=4, name="val").cells(extra)
    for name in ("test", "test-night"):
        with pytest.raises(UserError, match="never reported"):
            example(images=4, name=name).cells(extra)


def test_every_field_of_the_augmentation_is_decided_upon() -> None:
    assert set(OVERLAPS) == {one.name for one in fields(Augmentation)}
    assert not set().union(*OVERLAPS.values()) - set(COMMON)


def test_an_overlapping_augmentation_disqualifies() -> None:
    overlaps = {"zooms": ("zoom_blur",), "flip": ()}
    assert disqualified(Augmentation(), overlaps) == {}
    assert disqualified(Augmentation(flip=True), overlaps) == {}
    assert list(disqualified(Augmentation(zooms=(1.0, 1.2)), overlaps)) == ["zoom_blur"]
    with pytest.raises(KeyError):
        disqualified(Augmentation(), {"zooms": ()})


def test_the_card_says_what_is_evaluated() -> None:
    dataset = Tiny(None, {})
    assert robustness_card(Settings(), dataset) == {"suite": "off"}
    card = robustness_card(Settings(robustness="quick", robustness_val=True, pgd=(0.25, 8)), dataset)
    assert card["corruptions"] == list(QUICK) and card["corrupt_at"] == "network" and card["version"]
    assert card["val"]["corruptions"] == list(EXTRA)
    assert card["pgd"]["radii"] == [0.25, 8] and card["pgd"]["steps"] == [1, 10]
    assert card["pgd"]["on"] == [*(task.name for task in TASKS), "all"]
    assert robustness_card(Settings(pgd=(1,), pgd_steps=7), dataset)["pgd"]["steps"] == [7]


class SometimesNative(TinyNative):
    """Serves them in another layout than this one."""

    has_native_images = False


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        (Small, {"robustness": "quick"}, "31 x 64 pixels"),
        (Small, {"robustness_val": True}, "31 x 64 pixels"),
        (Tiny, {"robustness": "full", "corrupt_at": "native"}, "does not serve"),
        (SometimesNative, {"robustness": "quick", "corrupt_at": "native"}, "does not serve"),
        (Tiny, {"pgd": [1], "pgd_on": ["dept"]}, "no task 'dept'.*'depth'"),
        (Tiny, {"robustness": "full", "frost_textures": "/nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_training(
    dataset: type[Dataset], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        robustness_card(make_settings("test", changes), dataset(None, {}))


@pytest.mark.parametrize("bad", [{"robustness": "fast"}, {"pgd": [0]}, {"pgd": [300]}, {"pgd": ["x"]}, {"pgd_steps": -1}])
def test_refused_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        make_settings("test", bad)


def test_yaml_s_off_is_off() -> None:
    assert make_settings("test", {"robustness": False}).robustness == "off"


def test_native_images_are_corrupted_before_they_are_resized() -> None:
    dataset = TinyNative(None, {})
    robustness_card(Settings(robustness="full", corrupt_at="native"), dataset)
    native = NativeImages(dataset, "test")
    ids = ["test/0", "test/1"]
    clean = native.corrupted(ids, "fog", 0, dataset="tiny")
    assert clean.shape == (2, 3, HEIGHT, WIDTH) and clean.dtype == torch.uint8
    assert np.array_equal(clean[1].permute(1, 2, 0).numpy(), dataset.fit_image(dataset.native_image(("test", 1))))
    noisy = native.corrupted(ids, "gaussian_noise", 5, dataset="tiny")
    assert torch.equal(noisy.flip(0), native.corrupted(ids[::-1], "gaussian_noise", 5, dataset="tiny"))
    # Averaging four pixels takes half of the noise away.
    at_network = example().corrupted("gaussian_noise", 5)
    batch = at_network.split.batch(torch.arange(2))
    difference = (at_network(batch) - batch.image).std() * 255
    assert (noisy.float() - clean.float()).std() < 0.7 * difference


# -- a whole trial ----------------------------------------------------------------------------------------------------


def test_a_trial_records_cells_attacks_and_summary(tmp_path: Path) -> None:
    from mtlbench.config.plugins import Registry
    from mtlbench.planning.expansion import expand
    from mtlbench.planning.experiment import make_experiment
    from mtlbench.records import read
    from mtlbench.running.run_trial import run_trial
    from mtlbench.running.trial import open_dataset

    experiment = make_experiment(
        {
            "methods": ["hard_sharing"],
            "datasets": [{"name": "multidigits", "set": {"train": 32, "val": 16, "test": 16}}],
            "reference": False,
            "settings": {
                "epochs": 1,
                "backbone": "resnet_tiny",
                "robustness": "quick",
                "robustness_val": True,
                "pgd": [1],
                "bn_images": 32,
            },
        },
        "test",
    )
    (trial,) = expand(experiment, Registry(), lambda data, plugin: open_dataset(data, plugin.cls), cache=tmp_path / "cache")
    record = read(run_trial(trial, tmp_path / "runs", tmp_path / "results"))
    robustness = record.result.robustness
    assert robustness is not None
    protocol: Any = record.protocol["robustness"]
    assert protocol["corruptions"] == [corruption.name for corruption in robustness.corruptions] == list(QUICK)
    assert set(robustness.cells) == set(QUICK)
    assert all(list(cells) == ["1", "3", "5"] for cells in robustness.cells.values())
    assert robustness.val is not None and robustness.pgd is not None
    assert set(robustness.val.cells) == set(EXTRA)
    assert set(robustness.pgd.attacks["1"]) == {"left", "right", "all"}
    assert robustness.images == 16
    assert "mean_skill" in robustness.summary and robustness.worst in QUICK
    base = [robustness]
    assert corrupted_delta(base, base, record.tasks).own.mean == pytest.approx(0)
