"""Experiments: checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry
from mtlbench.config.settings import Settings, make_settings
from mtlbench.contract import UserError
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import load_experiment, make_experiment
from mtlbench.running.trial import open_dataset
from tests.tiny import STREETS, trials

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_experiments_of_the_repository_are_valid(path: Path) -> None:
    from mtlbench.config.method import resolve
    from mtlbench.config.plugins import Registry

    experiment, registry = load_experiment(path), Registry()
    for method in experiment.methods:
        if not any(registry.group("methods")[part].broken for part in method.name.split("+")):
            resolve(method.name, method.set, registry)
    for dataset in experiment.datasets:
        cls = registry.dataset(dataset.name).cls
        cls.configure(dataset.set, dataset.name)
        make_settings(path.name, cls.defaults, experiment.settings, dataset.settings)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"methods": ["a"], "datasets": ["b"], "seed": 3}, "no field 'seed'. Did you mean 'seeds'"),
        ({"methods": ["a"], "datasets": ["b"], "seeds": 0}, "at least one seed"),
        ({"methods": ["a"], "datasets": ["b"], "seeds": []}, "at least one seed"),
        ({"methods": ["a"]}, "datasets: Field required"),
        ({"methods": [{"name": "a", "sets": {}}], "datasets": ["b"]}, "Did you mean 'set'"),
        ({"methods": "a", "datasets": ["b"]}, "methods"),
    ],
)
def test_a_wrong_field_is_named(raw: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_experiment(raw, "mine.yaml")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("methods: [a\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_experiment(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UserError, match="expected fields"):
        load_experiment(tmp_path / "list.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "no setting 'epoch'. Did you mean 'epochs'"),
        ({"epochs": 0}, "epochs = 0 is refused"),
        ({"epochs": "many"}, "epochs = 'many' is refused"),
        ({"backbone": "resnet19"}, "Did you mean 'resnet18'"),
        ({"lr": float("inf")}, "lr = inf is refused"),
        ({"precision": "fp8"}, "precision = 'fp8' is refused"),
        ({"output_stride": 7}, "output_stride = 7 is refused"),
    ],
)
def test_settings_are_checked(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_settings("here", given)


def test_later_settings_win() -> None:
    assert make_settings("here", {"epochs": 3, "lr": 1.0}, {"epochs": 5}).epochs == 5
    assert make_settings("here") == Settings.model_validate({})


def test_seeds_and_methods_are_crossed_with_the_reference_first(tmp_path: Path) -> None:
    found = trials(tmp_path, ["cross_stitch", "single_task"], seeds=[3, 5])
    assert [(spec.method, spec.seed) for spec in found] == [
        ("single_task", 3), ("single_task", 5), ("cross_stitch", 3), ("cross_stitch", 5),
    ]  # fmt: skip
    assert found[0].is_reference
    assert len({spec.id for spec in found}) == 4
    assert len({str(spec.protocol) for spec in found}) == 1


def test_a_trial_survives_json(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, [{"name": "cross_stitch", "set": {"own_weight": 0.8}}])
    again = type(spec).model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.id == spec.id
    assert again.hypers == {"own_weight": 0.8}


def test_a_default_said_aloud_is_the_same_trial(tmp_path: Path) -> None:
    plain, said = (trials(tmp_path, [{"name": "cross_stitch", "set": values}])[0] for values in ({}, {"own_weight": 0.9}))
    assert plain.id == said.id


def test_every_set_of_settings_has_a_reference_of_its_own(tmp_path: Path) -> None:
    """Epochs that differ for one method are another protocol, and Δ needs single-task networks there, too."""
    more = {"name": "hard_sharing", "settings": {"epochs": 9}}
    raw = {"methods": ["hard_sharing", more], "datasets": [{"name": "streets", "set": STREETS}]}
    registry = Registry()
    found = expand(
        make_experiment(raw, "test"), registry, lambda data, plugin: open_dataset(data, plugin.cls), cache=tmp_path
    )
    pairs = {(one.method, one.settings.epochs) for one in found}
    assert pairs == {(name, epochs) for name in ("single_task", "hard_sharing") for epochs in (8, 9)}
