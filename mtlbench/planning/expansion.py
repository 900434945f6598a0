"""From an experiment to its trials.

Settings come from, later ones winning: mtlbench's defaults, the dataset's, the experiment's, the experiment's for that
dataset, the experiment's for that method, the command line's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlbench.config.method import Method, reference_method, resolve
from mtlbench.config.plugins import Plugin, Registry
from mtlbench.config.settings import Settings, make_settings
from mtlbench.contract import Dataset
from mtlbench.data.store import Prepared
from mtlbench.errors import UserError, did_you_mean
from mtlbench.measure.kernels import gpu_has_bf16
from mtlbench.planning import plugin_files
from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry
from mtlbench.planning.protocol import card
from mtlbench.planning.trial_spec import DataSpec, TrialSpec
from mtlbench.records import canonical

DIAGNOSES = ("gradients",)
"""Measures that can be taken during training."""

Prepare = Callable[[DataSpec, Plugin[Dataset]], Prepared]
"""Makes a dataset ready and returns it."""


@dataclass(frozen=True)
class _Combination:
    """One method on one dataset, checked, for all seeds."""

    entry: MethodEntry
    method: Method
    dataset: Plugin[Dataset]
    data: DataSpec
    settings: Settings


def expand(
    experiment: Experiment,
    registry: Registry,
    prepare: Prepare,
    *,
    cache: Path,
    overrides: Mapping[str, Any] | None = None,
    threads: int = 1,
    skip_bad: bool = False,
    bf16: Callable[[], bool] = gpu_has_bf16,
) -> list[TrialSpec]:
    """All trials of an experiment, single-task references first; everything is checked before anything is prepared.

    Args:
        prepare: makes a dataset ready and returns it (its fingerprint is part of the protocol).
        cache: the folder of prepared data.
        overrides: settings from the command line, over everything else.
        threads: CPU threads per trial.
        skip_bad: leave unreadable samples out instead of stopping.
        bf16: whether the device that trains has bf16; asked for `precision = auto` alone.

    Raises:
        UserError: an unknown or broken plugin, a refused hyper-parameter, option or setting.
    """
    for name in experiment.diagnose:
        if name not in DIAGNOSES:
            raise UserError(f"There is nothing to diagnose by the name {name!r}.{did_you_mean(name, DIAGNOSES)}")
    methods = with_references(experiment.methods) if experiment.reference else list(experiment.methods)
    methods.sort(key=lambda entry: entry.name != reference_method())
    combinations = [
        combination
        for entry in experiment.datasets
        for combination in _on_dataset(experiment, entry, methods, registry, overrides or {}, cache, skip_bad)
    ]
    prepared: dict[str, Prepared] = {}
    # Thousands of methods have few protocols.
    cards: dict[tuple[str, Settings], tuple[str, dict[str, Any]]] = {}
    trials: list[TrialSpec] = []
    for combination in combinations:
        data, settings = combination.data.model_dump_json(), combination.settings
        if data not in prepared:
            prepared[data] = prepare(combination.data, combination.dataset)
        if (data, settings) not in cards:
            cards[data, settings] = _precision_and_card(combination, prepared[data], bf16)
        trials += _trials(combination, *cards[data, settings], experiment, threads)
    return unique(trials)


def _on_dataset(
    experiment: Experiment,
    entry: DatasetEntry,
    methods: Sequence[MethodEntry],
    registry: Registry,
    overrides: Mapping[str, Any],
    cache: Path,
    skip_bad: bool,
) -> Iterator[_Combination]:
    """All methods on one dataset of an experiment, checked."""
    dataset = registry.dataset(entry.name)
    options = json.loads(canonical(dataset.cls.configure(entry.set, entry.name)))
    data = DataSpec(name=entry.name, options=options, root=entry.root, cache=str(cache), skip_bad=skip_bad)
    for method_entry in methods:
        where = f"{experiment.name}: {method_entry.name} on {entry.name}"
        method = resolve(method_entry.name, method_entry.set, registry)
        layers = (dataset.cls.defaults, experiment.settings, entry.settings, method_entry.settings, overrides)
        settings = make_settings(where, *layers)
        minimum = method.architecture.cls.minimum_epochs
        if settings.epochs < minimum:
            raise UserError(f"{where}: {settings.epochs} epochs are too few, the method makes sense with {minimum} or more.")
        yield _Combination(method_entry, method, dataset, data, settings)


def _precision_and_card(
    combination: _Combination, prepared: Prepared, bf16: Callable[[], bool]
) -> tuple[str, dict[str, Any]]:
    """What the precision resolves to, and the protocol card."""
    settings = combination.settings
    precision: str = settings.precision
    if precision == "auto":
        precision = "bf16" if bf16() else "fp32"
    sizes = {name: len(split) for name, split in prepared.splits.items()}
    return precision, card(combination.data.name, prepared.dataset, prepared.fingerprint, sizes, settings, precision)


def _trials(
    combination: _Combination, precision: str, protocol: dict[str, Any], experiment: Experiment, threads: int
) -> Iterator[TrialSpec]:
    """One trial per seed."""
    entry, method, data, settings = combination.entry, combination.method, combination.data, combination.settings
    plugins = (method.architecture, method.strategy, combination.dataset)
    sources, files = {plugin.name: plugin.source for plugin in plugins}, plugin_files.collect(plugins)
    for seed in experiment.seed_list:
        yield TrialSpec(
            method=method.name,
            label=entry.label,
            # A default that was given is the same trial as one that was not.
            hypers={name: value for name, value in entry.set.items() if name.rpartition(".")[2] in method.changed},
            data=data,
            seed=seed,
            settings=settings,
            precision=precision,
            protocol=protocol,
            sources=sources,
            files=files,
            threads=threads,
            diagnose=tuple(experiment.diagnose),
        )


def with_references(methods: Sequence[MethodEntry]) -> list[MethodEntry]:
    """The methods, and before them the single-task networks that are missing: one for every distinct set of settings.

    A method's own settings make another protocol, in which Δ needs a reference of its own.
    """
    needed = {canonical(entry.settings): entry.settings for entry in methods}
    present = {canonical(entry.settings) for entry in methods if entry.name == reference_method() and not entry.label}
    missing = [settings for key, settings in needed.items() if key not in present]
    return [*(MethodEntry(name=reference_method(), settings=settings) for settings in missing), *methods]


def unique(trials: Iterable[TrialSpec]) -> list[TrialSpec]:
    """Trials without repetitions, in order."""
    return list({trial.id: trial for trial in trials}.values())
