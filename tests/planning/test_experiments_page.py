"""The page on experiment files says what the fields are, and its example is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mtlbench.cli.list import experiment_fields
from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.config.settings import make_settings
from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry, load_experiment

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_valid_with_all_that_it_names(example: Path) -> None:
    experiment, registry = load_experiment(example), Registry()
    for method in experiment.methods:
        resolve(method.name, method.set, registry)
        for dataset in experiment.datasets:
            dataset_class = registry.dataset(dataset.name).cls
            dataset_class.configure(dataset.set, dataset.name)
            make_settings("here", dataset_class.defaults, experiment.settings, dataset.settings, method.settings)


def test_the_example_has_every_field(example: Path) -> None:
    raw = yaml.safe_load(example.read_text(encoding="utf-8"))
    assert set(raw) == set(Experiment.model_fields)
    for entries, model in ((raw["methods"], MethodEntry), (raw["datasets"], DatasetEntry)):
        assert {field for entry in entries if isinstance(entry, dict) for field in entry} == set(model.model_fields)


def test_the_table_is_that_of_the_fields() -> None:
    rows = [
        f"| `{name}` | {kind} | {default if default in ('', 'required') else f'`{default}`'} | {description} |"
        for name, kind, default, description in experiment_fields()
    ]
    table = [line.replace("|  |", "| |") for line in PAGE.splitlines() if line.startswith("| `")]
    assert table == [row.replace("|  |", "| |") for row in rows]


def test_every_field_has_a_description() -> None:
    for model in (Experiment, MethodEntry, DatasetEntry):
        assert [name for name, field in model.model_fields.items() if not field.description] == []
