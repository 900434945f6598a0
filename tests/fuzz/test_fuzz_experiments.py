"""Experiment files and what the command line adds: read, or refused in one line; what is read means the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mtlbench.cli.options import assignments
from mtlbench.config.plugins import Registry
from mtlbench.config.settings import Settings, make_settings
from mtlbench.errors import UserError
from mtlbench.planning.expansion import with_references
from mtlbench.planning.experiment import load_experiment, make_experiment
from mtlbench.records import canonical
from tests.fuzz.inputs import accepted, broken, short, texts, values

GOOD: dict[str, Any] = {
    "name": "fuzzed",
    "description": "for this test",
    "methods": ["pcgrad", {"name": "cross_stitch", "set": {"own_weight": 0.8}, "settings": {"lr": 0.01}, "label": "wide"}],
    "datasets": ["streets", {"name": "planted", "set": {"train": 8}, "settings": {"epochs": 3}, "root": "raw"}],
    "seeds": [0, 3],
    "settings": {"epochs": 4, "head_rates": [1, 2], "pgd": [1.0], "pretrained": ""},
    "reference": True,
    "diagnose": ["gradients"],
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def use(path: Path) -> None:
    """Everything that is done with an experiment before its data are looked at."""
    experiment = load_experiment(path)
    canonical(experiment.model_dump())
    assert 1 <= len(experiment.seed_list) <= 1_000_000
    for entry in with_references(experiment.methods):
        make_settings("here", experiment.settings, entry.settings)


@short
@given(content=st.one_of(st.binary(max_size=60), texts.map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(content=b"methods: 2001-99-99")
@example(content=b"\xff\xfe")
@example(content=b"[" * 1200)
@example(content=b"a: &a [*a]")
@example(content=b"methods: [a]\ndatasets: [b]\nsettings: &s {epochs: *s}")
@example(content=b"methods: [a]\ndatasets: [b]\nsettings: {lr: 2001-01-01}")
@example(content=b"methods: [a]\ndatasets: [b]\nsettings: {1: 2, a: 3}")
@example(content=b"methods: [a]\ndatasets: [b]\nseeds: 1000000000000000000000000000000")
@example(content=b"methods: [a]\ndatasets: [b]\nseeds: 0x" + b"f" * 5000)
@example(content=b"methods: [a]\ndatasets: [b]\nseeds: " + b"1" * 5000)
@example(content=b'methods: [a]\ndatasets: [{name: b, root: "a\\0b"}]')
@example(content=b'methods: [{name: a, label: "two\\nlines"}]\ndatasets: [b]')
@example(content=b"methods: [{name: a, label: " + b"x" * 400 + b"}]\ndatasets: [b]")
@example(content=b'"a\\nb\\e[31m": 1\nmethods: [a]\ndatasets: [b]')
def test_any_text_is_read_or_refused_in_one_line(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    accepted(lambda: use(path))


def test_repeated_references_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A few lines that stand for 10^9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError):
        load_experiment(tmp_path / "a.yaml")


@short
@given(broken(GOOD))
def test_a_broken_experiment_is_read_or_refused_in_one_line(raw: Any) -> None:
    if isinstance(raw, dict):
        accepted(lambda: make_experiment(raw, "mine.yaml"))


names = st.text("abcdefgh_+ é", min_size=1, max_size=8)
numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False), st.booleans(), names)
given_values = st.dictionaries(names, st.one_of(numbers, st.lists(numbers, max_size=2)), max_size=2)
methods = st.fixed_dictionaries({"name": names}, optional={"set": given_values, "settings": given_values, "label": names})
datasets = st.fixed_dictionaries({"name": names}, optional={"set": given_values, "settings": given_values, "root": names})
experiments = st.fixed_dictionaries(
    {
        "methods": st.lists(names | methods, min_size=1, max_size=3),
        "datasets": st.lists(names | datasets, min_size=1, max_size=3),
    },
    optional={
        "seeds": st.integers(1, 9) | st.lists(st.integers(0, 99), min_size=1, max_size=3),
        "settings": given_values,
        "reference": st.booleans(),
        "description": names,
    },
)


@short
@given(raw=experiments)
def test_a_valid_experiment_written_and_read_again_is_the_same(
    raw: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "valid.yaml"
    experiment = make_experiment(raw, "mine.yaml")
    path.write_text(yaml.safe_dump(experiment.model_dump(), allow_unicode=True), encoding="utf-8")
    assert load_experiment(path) == experiment
    assert [method.name for method in experiment.methods] == [
        entry if isinstance(entry, str) else entry["name"] for entry in raw["methods"]
    ]


@short
@given(st.sampled_from(sorted(Settings.model_fields)), st.one_of(values.map(str), texts))
@example("lr", "2001-99-99")
@example("lr", "0x" + "f" * 5000)
@example("lr", "[" * 1200)
@example("epochs", "0x" + "f" * 30)
@example("pretrained", '"a\\0b"')
@example("head_rates", "[0]")
def test_any_setting_on_the_command_line_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    settings = accepted(lambda: make_settings("command line", assignments([f"{name}={value}"])))
    if settings is not None:
        assert make_settings("again", settings.model_dump(mode="json")) == settings
        canonical(settings.model_dump(mode="json"))


@short
@given(st.lists(st.text(max_size=20), max_size=3))
@example(["a=2001-99-99"])
@example(["a=*b"])
@example([f"a={'[' * 1200}"])
def test_any_assignment_is_understood_or_refused_in_one_line(words: list[str]) -> None:
    accepted(lambda: assignments(words))


@short
@given(kind=st.sampled_from(["architecture", "strategy", "dataset"]), data=st.data())
def test_any_hyper_parameter_is_taken_or_refused_in_one_line(kind: str, data: st.DataObject, registry: Registry) -> None:
    plugins: dict[str, dict[str, Any]] = {
        "architecture": dict(registry.architectures()),
        "strategy": dict(registry.strategies()),
        "dataset": dict(registry.datasets()),
    }
    classes = plugins[kind]
    name = data.draw(st.sampled_from(sorted(name for name, cls in classes.items() if cls.hypers)))
    hyper = data.draw(st.sampled_from(sorted(classes[name].hypers)))
    default = classes[name].hypers[hyper].default
    value = data.draw(st.one_of(values, numbers, st.just(default), st.lists(st.just(default), max_size=2)))
    configured = accepted(lambda: classes[name].configure({hyper: value}, name))
    if configured is not None:
        assert classes[name].configure({hyper: configured[hyper]}, name) == configured


@short
@given(
    method=st.sampled_from(["equal", "pcgrad", "cross_stitch", "hard_sharing+mgda"]),
    given_hypers=st.dictionaries(texts, values, max_size=2),
)
def test_any_hyper_parameters_of_a_method_are_taken_or_refused_in_one_line(
    method: str, given_hypers: dict[str, Any], registry: Registry
) -> None:
    from mtlbench.config.method import resolve

    accepted(lambda: resolve(method, given_hypers, registry))
