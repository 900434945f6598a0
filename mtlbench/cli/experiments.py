"""From the command line to an experiment, and from an experiment to its trials: the same for every command that trains."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from mtlbench.cli.options import announce, assignments, overrides
from mtlbench.config.plugins import Plugin, Registry
from mtlbench.contract import Dataset
from mtlbench.data.store import Prepared
from mtlbench.errors import UserError
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry, make_experiment
from mtlbench.planning.trial_spec import DataSpec, TrialSpec
from mtlbench.running.trial import open_dataset
from mtlbench.tuning.study import Plan

COMMAND_LINE = "command line"
"""What error messages call an experiment that no file describes."""


def experiment_from_arguments(
    arguments: argparse.Namespace,
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: int | list[int] | None = None,
    reference: bool = True,
    base: Experiment | None = None,
) -> Experiment:
    """The experiment that the command line asks for.

    Args:
        arguments: with the options of `add_trial`.
        methods, datasets, seeds: what the command line names; left out where the base says it.
        reference: False: do not add single-task networks.
        base: an experiment file's content, which the command line changes.

    Raises:
        UserError: an argument that is meant for one method or dataset, where there are several.
    """
    raw: dict[str, Any] = base.model_dump() if base is not None else {"name": COMMAND_LINE, "diagnose": []}
    if methods:
        raw["methods"] = [{"name": name, "set": {}} for name in methods]
    if datasets:
        raw["datasets"] = [{"name": name, "root": None, "set": {}} for name in datasets]
    if seeds is not None:
        raw["seeds"] = seeds
    if arguments.method_arg:
        _only(raw["methods"], "--method-arg gives hyper-parameters to one method", "--method")
        raw["methods"][0]["set"].update(assignments(arguments.method_arg))
    if arguments.dataset_arg:
        if not datasets:
            _only(raw["datasets"], "--dataset-arg gives options to one dataset", "--dataset")
        for entry in raw["datasets"]:
            entry["set"].update(assignments(arguments.dataset_arg))
    if arguments.data:
        _only(raw["datasets"], "--data names a folder for one dataset", "--dataset")
        raw["datasets"][0]["root"] = str(arguments.data.expanduser().resolve())
    if not reference:
        raw["reference"] = False
    raw["diagnose"] = [*raw["diagnose"], *arguments.diagnose]
    return make_experiment(raw, COMMAND_LINE)


def trials_from_arguments(arguments: argparse.Namespace, experiment: Experiment, registry: Registry) -> list[TrialSpec]:
    """All trials of an experiment under the command line's settings; datasets are prepared first.

    Args:
        arguments: with the options of `add_trial` and `add_folders`.

    Raises:
        UserError: an unknown or broken plugin, a refused hyper-parameter, option or setting.
    """
    from mtlbench.measure.kernels import gpu_has_bf16

    return expand(
        experiment,
        registry,
        lambda data, plugin: open_dataset(data, plugin.cls, announce(data.name)),
        cache=arguments.cache.expanduser().resolve(),
        overrides=overrides(arguments),
        threads=_threads(arguments.cpus),
        skip_bad=arguments.skip_bad,
        bf16=lambda: getattr(arguments, "gpus", None) != 0 and gpu_has_bf16(),
    )


def planner(arguments: argparse.Namespace, experiment: Experiment, registry: Registry) -> Plan:
    """A function that plans the trials of one method on one dataset of an experiment, as `trials_from_arguments` would.

    Every dataset is prepared once.
    """
    from mtlbench.measure.kernels import gpu_has_bf16

    prepared: dict[str, Prepared] = {}

    def prepare(data: DataSpec, plugin: Plugin[Dataset]) -> Prepared:
        key = data.model_dump_json()
        if key not in prepared:
            prepared[key] = open_dataset(data, plugin.cls, announce(data.name))
        return prepared[key]

    def plan(dataset: DatasetEntry, method: MethodEntry, seeds: Sequence[int]) -> list[TrialSpec]:
        return expand(
            experiment.model_copy(
                update={"datasets": [dataset], "methods": [method], "seeds": list(seeds), "reference": False}
            ),
            registry,
            prepare,
            cache=arguments.cache.expanduser().resolve(),
            overrides=overrides(arguments),
            threads=_threads(arguments.cpus),
            skip_bad=arguments.skip_bad,
            bf16=lambda: getattr(arguments, "gpus", None) != 0 and gpu_has_bf16(),
        )

    return plan


def _threads(cpus: float) -> int:
    if not 0 < cpus < math.inf:
        raise UserError(f"--cpus {cpus:g} is refused: expected a number above 0.")
    return max(1, int(cpus))


def _only(entries: Sequence[object], purpose: str, option: str) -> None:
    if len(entries) != 1:
        raise UserError(f"{purpose}: name one with {option}, or write an experiment file.")
