"""The presets of published protocols: valid, and expanded on small trees in the real layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.config.settings import make_settings
from mtlbench.datasets.celeba import NAMES
from mtlbench.datasets.nyuv2.preprocessed import STORED_SIZE
from mtlbench.leaderboard.replications import read_ledger
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import load_experiment
from mtlbench.running.trial import open_dataset
from tests.datasets.test_cityscapes import write_preprocessed
from tests.datasets.test_digits import write_idx
from tests.tiny import batch, image_tasks, network_config, run

FOLDER = Path(__file__).parents[2] / "experiments" / "replications"
PRESETS = sorted(FOLDER.glob("*.yaml"))


def test_every_preset_has_an_entry_in_the_ledger() -> None:
    assert {path.stem for path in PRESETS} == {path.stem for path in (FOLDER / "ledger").glob("*.yaml")}
    assert len(PRESETS) == 10


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_valid_and_have_the_rows_of_their_entry(path: Path) -> None:
    experiment, registry = load_experiment(path), Registry()
    assert experiment.name == path.stem
    for method in experiment.methods:
        if not any(registry.group("methods")[part].broken for part in method.name.split("+")):
            resolve(method.name, method.set, registry)
    for dataset in experiment.datasets:
        cls = registry.dataset(dataset.name).cls
        options = cls.configure(dataset.set, dataset.name)
        settings = make_settings(path.name, cls.defaults, experiment.settings, dataset.settings)
        assert settings.budget == "paper", "published budgets are never ranked with equal ones"
        assert options
    labels = {method.label or method.name for method in experiment.methods}
    assert {row.ours for row in read_ledger(FOLDER / "ledger" / path.name).rows} <= labels


def write_nyuv2(root: Path) -> Path:
    """Frames in the preprocessed layout: one colour, one class, one depth, one direction."""
    height, width = STORED_SIZE
    for split, count in (("train", 7), ("val", 2)):
        for kind in ("image", "label", "depth", "normal"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            np.save(root / split / "image" / f"{number}.npy", np.full((height, width, 3), number / 10))
            np.save(root / split / "label" / f"{number}.npy", np.full((height, width), number % 13, np.float32))
            np.save(root / split / "depth" / f"{number}.npy", np.full((height, width, 1), 1.0 + number, np.float32))
            np.save(root / split / "normal" / f"{number}.npy", np.tile(np.array([0, -1, 0], np.float32), (height, width, 1)))
    return root


def write_celeba(root: Path) -> Path:
    """Twelve faces of one colour, four per split, each attribute on every second one."""
    (root / "img_align_celeba").mkdir(parents=True)
    names = [f"{number + 1:06}.jpg" for number in range(12)]
    rows = [f"{name} {' '.join('1' if (place + at) % 2 else '-1' for at in range(40))}" for place, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text("\n".join(["12", " ".join(NAMES) + " ", *rows]) + "\n")
    (root / "list_eval_partition.txt").write_text("".join(f"{name} {place // 4}\n" for place, name in enumerate(names)))
    for place, name in enumerate(names):
        Image.fromarray(np.full((218, 178, 3), 20 * place, np.uint8)).save(root / "img_align_celeba" / name)
    return root


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Dataset → a small tree in its real layout."""
    folder = tmp_path_factory.mktemp("roots")
    write_idx(folder / "MNIST" / "raw", 0)
    return {
        "multimnist": folder,
        "nyuv2": write_nyuv2(folder / "nyuv2"),
        "cityscapes": write_preprocessed(folder / "cityscapes"),
        "celeba": write_celeba(folder / "celeba"),
    }


SMALL = {"multimnist": {"train": 100, "val": 20, "test": 60}}
"""Options that keep the prepared data small; everything else is the preset's."""


@pytest.mark.parametrize("name", ["sener2018", "kurin2022", "pamal", "nash2022", "famo2023", "mtan2019", "alternating2021"])
def test_presets_expand_on_small_trees_in_the_real_layout(roots: dict[str, Path], tmp_path: Path, name: str) -> None:
    registry = Registry()
    experiment = load_experiment(FOLDER / f"{name}.yaml")
    methods = [
        method
        for method in experiment.methods
        if not any(registry.group("methods")[part].broken for part in method.name.split("+"))
    ]
    datasets = [
        entry.model_copy(update={"root": str(roots[entry.name]), "set": {**entry.set, **SMALL.get(entry.name, {})}})
        for entry in experiment.datasets
    ]
    experiment = experiment.model_copy(update={"datasets": datasets, "methods": methods, "reference": False, "seeds": [0]})
    trials = expand(experiment, registry, lambda data, plugin: open_dataset(data, plugin.cls), cache=tmp_path)
    assert len(trials) == len(methods) * len(datasets)
    assert len({trial.id for trial in trials}) == len(trials)
    assert {trial.data.name for trial in trials} == {entry.name for entry in datasets}


@pytest.mark.parametrize("name", ["sener2018", "kurin2022", "pamal"])
def test_every_method_of_a_multimnist_preset_takes_a_step_on_its_backbone(name: str) -> None:
    registry, experiment = Registry(), load_experiment(FOLDER / f"{name}.yaml")
    settings = make_settings(name, experiment.settings)
    tasks = image_tasks()
    config = replace(network_config(tasks), image_size=(28, 28), backbone=settings.backbone_spec())
    for entry in experiment.methods:
        if any(registry.group("methods")[part].broken for part in entry.name.split("+")):
            continue
        method = resolve(entry.name, entry.set, registry)
        network = method.architecture.cls(config, method.architecture_hypers)
        strategy = method.strategy.cls(network, run(), method.strategy_hypers)
        strategy.start()
        before = [weight.detach().clone() for weight in network.parameters()]
        losses = strategy.step(batch(tasks, size=(28, 28)))
        assert set(losses) == {"left", "right"} and all(loss.isfinite() for loss in losses.values()), entry.name
        assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)), entry.name
