"""What to run: an experiment file and the command line, checked, and expanded to trials.

    name: my-comparison
    methods: [single_task, hard_sharing, {name: cross_stitch, set: {own_weight: 0.8}, label: gentle stitching}]
    datasets: [streets, {name: cityscapes, root: /data/cityscapes, set: {classes: 19}, settings: {epochs: 60}}]
    seeds: 3
    settings: {epochs: 20, backbone: resnet18}

Settings come from, later ones winning: mtlbench's defaults, the dataset's, the experiment's, the experiment's for that
dataset, the method's own in the experiment, the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mtlbench.config.method import reference_method, resolve
from mtlbench.config.plugins import Plugin, Registry
from mtlbench.config.settings import make_settings
from mtlbench.data.store import Prepared
from mtlbench.errors import UserError, did_you_mean
from mtlbench.measure.machine import resolve_precision
from mtlbench.planning.protocol import card
from mtlbench.planning.trial_spec import DataSpec, TrialSpec
from mtlbench.records import canonical

DIAGNOSES = ("gradients",)
"""Measures that can be taken during training."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    set: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class MethodEntry(_Entry):
    """A method to run: its hyper-parameters (`set`), settings that differ for it, and a label for its row."""

    label: str = ""


class DatasetEntry(_Entry):
    """A dataset to run on: its options (`set`), settings that differ for it, and where its files are."""

    root: str | None = None


class Experiment(BaseModel):
    """A checked experiment.

    Attributes:
        seeds: how many (0 … n − 1), or which.
        reference: schedule the single-task networks that Δ needs, if they are not among the methods.
        diagnose: measures taken during training ("gradients").
    """

    model_config = ConfigDict(extra="forbid")

    name: str = "experiment"
    description: str = ""
    methods: list[MethodEntry]
    datasets: list[DatasetEntry]
    seeds: int | list[int] = 1
    settings: dict[str, Any] = Field(default_factory=dict)
    reference: bool = True
    diagnose: list[str] = Field(default_factory=list)

    @field_validator("methods", "datasets", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [{"name": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: int | list[int]) -> int | list[int]:
        if value == [] or (isinstance(value, int) and value < 1):
            raise ValueError("expected at least one seed")
        return value

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        UserError: no such file, not YAML, an unknown field (with the nearest one), or a refused value.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The experiment {path} cannot be read: {error.strerror}. Examples are in experiments/.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected fields such as methods and datasets, found {type(raw).__name__}.")
    return make_experiment(raw, str(path))


def make_experiment(raw: Mapping[str, Any], where: str) -> Experiment:
    """An experiment from plain values; errors name `where` they are."""
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            model: Any = (
                Experiment if len(first["loc"]) == 1 else MethodEntry if first["loc"][0] == "methods" else DatasetEntry
            )
            hint = did_you_mean(str(first["loc"][-1]), model.model_fields)
            raise UserError(f"{where}: there is no field {place!r}.{hint}") from None
        raise UserError(f"{where}: {place}: {first['msg']} (found {first['input']!r}).") from None


def expand(
    experiment: Experiment,
    registry: Registry,
    prepare: Callable[[DataSpec, Plugin], Prepared],
    *,
    cache: Path,
    overrides: Mapping[str, Any] | None = None,
    threads: int = 1,
    skip_bad: bool = False,
) -> list[TrialSpec]:
    """All trials of an experiment, single-task references first; everything is checked before anything is prepared.

    Args:
        prepare: makes a dataset ready and returns it (its fingerprint is part of the protocol).
        overrides: settings from the command line, over everything else.

    Raises:
        UserError: an unknown or broken plugin, a refused hyper-parameter, option or setting.
    """
    methods = with_references(experiment.methods) if experiment.reference else list(experiment.methods)
    methods.sort(key=lambda one: one.name != reference_method())
    for measure in experiment.diagnose:
        if measure not in DIAGNOSES:
            raise UserError(f"There is nothing to diagnose by the name {measure!r}.{did_you_mean(measure, DIAGNOSES)}")
    planned = []
    for entry in experiment.datasets:
        plugin = registry.dataset(entry.name)
        options = json.loads(canonical(plugin.cls.configure(entry.set, entry.name)))
        data = DataSpec(name=entry.name, options=options, root=entry.root, cache=str(cache), skip_bad=skip_bad)
        for one in methods:
            method = resolve(one.name, one.set, registry)
            where = f"{experiment.name}: {one.name} on {entry.name}"
            layers = (plugin.cls.defaults, experiment.settings, entry.settings, one.settings, overrides or {})
            settings = make_settings(where, *layers)
            minimum = method.architecture.cls.minimum_epochs
            if settings.epochs < minimum:
                raise UserError(
                    f"{where}: {settings.epochs} epochs are too few, the method makes sense with {minimum} or more."
                )
            planned.append((plugin, data, one, method, settings))
    prepared: dict[str, Prepared] = {}
    trials = []
    for plugin, data, one, method, settings in planned:
        key = data.model_dump_json()
        if key not in prepared:
            prepared[key] = prepare(data, plugin)
        ready = prepared[key]
        precision = resolve_precision(settings)
        sizes = {name: len(split) for name, split in ready.splits.items()}
        protocol = card(data.name, ready.dataset, ready.fingerprint, sizes, settings, precision)
        plugins = (method.architecture, method.strategy, plugin)
        for seed in experiment.seed_list:
            trials.append(
                TrialSpec(
                    method=method.name,
                    label=one.label,
                    hypers={name: value for name, value in one.set.items() if name.rpartition(".")[2] in method.changed},
                    data=data,
                    seed=seed,
                    settings=settings,
                    precision=precision,
                    protocol=protocol,
                    sources={plugin.name: plugin.source for plugin in plugins},
                    files=_files(plugins),
                    threads=threads,
                    diagnose=tuple(experiment.diagnose),
                )
            )
    return unique(trials)


def with_references(methods: Sequence[MethodEntry]) -> list[MethodEntry]:
    """The methods, and before them the single-task networks that are missing: one for every distinct set of settings.

    A method's own settings make another protocol, in which Δ needs a reference of its own.
    """
    wanted = {canonical(one.settings): one.settings for one in methods}
    there = {canonical(one.settings) for one in methods if one.name == reference_method() and not one.label}
    missing = [settings for key, settings in wanted.items() if key not in there]
    return [*(MethodEntry(name=reference_method(), settings=settings) for settings in missing), *methods]


def unique(trials: Iterable[TrialSpec]) -> list[TrialSpec]:
    """Trials without repetitions, in order."""
    return list({trial.id: trial for trial in trials}.values())


def _files(plugins: Sequence[Plugin]) -> dict[str, str]:
    """Plugin files from outside the package, which workers may not have."""
    return {
        str(plugin.path): plugin.path.read_text(encoding="utf-8")
        for plugin in plugins
        if plugin.module_name.startswith("mtlbench_plugin_")
    }
