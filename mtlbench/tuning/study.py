"""A study: the search for one method's hyper-parameters on one dataset, as trials that are planned and not yet run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mtlbench.config.method import Method, resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import UserError
from mtlbench.planning.expansion import with_references
from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry, TuneEntry
from mtlbench.planning.protocol import protocol_id
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.planning.tuned_trial import part_of_search, tuned_protocol
from mtlbench.records import Record, Tuning, canonical
from mtlbench.records.values import as_json
from mtlbench.tuning.draws import FIXED, draws
from mtlbench.tuning.space import Space, space_of

Plan = Callable[[DatasetEntry, MethodEntry, Sequence[int]], list[TrialSpec]]
"""The ordinary trials of a method on a dataset with some seeds."""

ROUND = 4
"""Trials that an adaptive search is asked for at a time, and told together: however many of them run at once, the draws stay
the same."""


@dataclass
class Study:
    """One method on one dataset.

    Attributes:
        dataset, entry: from the experiment.
        tune: how it is searched.
        space: what is searched.
        base: the ordinary trial at the defaults, with the search's seed.
        defaults: name → value at the defaults.
        plan: gives ordinary trials.
        drawn: number → what was drawn for it; number 0 has drawn nothing.
    """

    dataset: DatasetEntry
    entry: MethodEntry
    tune: TuneEntry
    space: Space
    base: TrialSpec
    defaults: dict[str, Any]
    plan: Plan
    drawn: dict[int, dict[str, Any]] = field(default_factory=lambda: {0: {}})

    @property
    def title(self) -> str:
        return f"{self.base.row} on {self.base.data.name}"

    @property
    def card(self) -> dict[str, Any]:
        """What must be equal for trials to be of one search: the tuning card without the budget."""
        card: dict[str, Any] = {
            "search": self.tune.search,
            "scheduler": self.tune.scheduler,
            "seed": self.tune.seed,
            "settings": {name: list(ends) for name, ends in sorted(self.tune.settings.items())},
            "hypers": "those that a method declares",
        }
        if self.tune.search not in FIXED:
            card["round"] = ROUND
        if self.tune.scheduler == "asha":
            card["rungs"] = "after 1/9 and 1/3 of the epochs the best third goes on"
        return card

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name the study by its method and space."""
        base = self.base
        content = [base.method, base.label, base.hypers, base.data.options, self._trials_protocol(), base.sources]
        return hashlib.sha256(canonical([*content, self.space.describe()]).encode()).hexdigest()[:12]

    def draw(self) -> None:
        """Draw every configuration of a search whose draws do not depend on results."""
        if self.tune.search in FIXED:
            search: Literal["sobol", "random"] = "sobol" if self.tune.search == "sobol" else "random"
            later = draws(self.base.method, self.space, self.tune.seed, self.tune.trials - 1, search)
            self.drawn |= dict(enumerate(later, start=1))

    def values(self, number: int) -> dict[str, Any]:
        """Name → value of a configuration."""
        return self.drawn[number] or self.defaults

    def trial(self, number: int) -> TrialSpec:
        """The trial of a configuration that was drawn."""
        (trial,) = self._planned(number, [self.tune.seed])
        return part_of_search(trial, self._tuning("trial", number), self.card)

    def winners(self, number: int, seeds: Sequence[int], chosen_from: Sequence[str] = ()) -> list[TrialSpec]:
        """The trials of the configuration that won, one per seed.

        Args:
            chosen_from: the ids of the trials that it was chosen from.
        """
        tuning = self._tuning("winner", number).model_copy(update={"chosen_from": list(chosen_from)})
        card = {**self.card, "trials": self.tune.trials}
        return [part_of_search(trial, tuning, card) for trial in self._planned(number, seeds)]

    def untuned(self, seeds: Sequence[int]) -> list[TrialSpec]:
        """The ordinary trials at the defaults, one per seed: what tuning is compared with."""
        return self.plan(self.dataset, self.entry, seeds)

    def _planned(self, number: int, seeds: Sequence[int]) -> list[TrialSpec]:
        drawn, names = self.drawn[number], {dimension.name for dimension in self.space.settings}
        settings = {name: value for name, value in drawn.items() if name in names}
        hypers = {name: value for name, value in drawn.items() if name not in names}
        entry = self.entry.model_copy(
            update={"set": {**self.entry.set, **hypers}, "settings": {**self.entry.settings, **settings}}
        )
        return self.plan(self.dataset, entry, seeds)

    def _tuning(self, role: Any, number: int) -> Tuning:
        return Tuning(
            role=role,
            study=self.id,
            number=number,
            values={name: as_json(value) for name, value in self.values(number).items()},
            space=self.space.describe(),
            trials_protocol=self._trials_protocol(),
            default_protocol=protocol_id(self.base.protocol),
        )

    def _trials_protocol(self) -> str:
        return protocol_id(tuned_protocol(self.base.protocol, self.card))


def studies_of(experiment: Experiment, registry: Registry, plan: Plan, overrides: Mapping[str, Any]) -> list[Study]:
    """A study for every method on every dataset, with the same number of trials each, single-task networks included.

    Args:
        plan: gives the ordinary trials of one method on one dataset.
        overrides: settings from the command line.

    Raises:
        UserError: a search's seed that winners are trained with, a searched setting that is given, and what `plan` refuses.
    """
    tune = experiment.tune or TuneEntry()
    if tune.seed in experiment.seed_list:
        raise UserError(
            f"{experiment.name}: the search's seed {tune.seed} is among the seeds, and winners must be trained on seeds "
            "that the search did not use: change tune.seed, or the seeds."
        )
    methods = with_references(experiment.methods) if experiment.reference else experiment.methods
    for where, settings in [("command line", overrides), *((entry.name, entry.settings) for entry in methods)]:
        if given := sorted(set(settings) & set(tune.settings)):
            raise UserError(
                f"{experiment.name}: {given[0]} is given ({where}) and searched: leave it out, or out of tune.settings."
            )
    # `plan` prepares a dataset, which can take an hour: names that do not exist are refused before.
    for dataset in experiment.datasets:
        registry.dataset(dataset.name)
    for entry in methods:
        resolve(entry.name, entry.set, registry)
    return [_study(dataset, entry, tune, registry, plan) for dataset in experiment.datasets for entry in methods]


def _study(dataset: DatasetEntry, entry: MethodEntry, tune: TuneEntry, registry: Registry, plan: Plan) -> Study:
    (base,) = plan(dataset, entry, [tune.seed])
    method = base.resolve(registry)
    tasks = [task["name"] for task in base.protocol["dataset"]["tasks"]]
    space = space_of(method, tune.settings, tasks, entry.set)
    study = Study(dataset, entry, tune, space, base, _defaults(space, method, base, tasks), plan)
    study.draw()
    return study


def _defaults(space: Space, method: Method, base: TrialSpec, tasks: Sequence[str]) -> dict[str, Any]:
    """Name → value of everything that is searched, at the defaults."""
    values: dict[str, Any] = {dimension.name: getattr(base.settings, dimension.name) for dimension in space.settings}
    for dimension in space.hypers:
        part, _, name = dimension.name.rpartition(".")
        parts = {"architecture": method.architecture_hypers, "strategy": method.strategy_hypers}
        values[dimension.name] = next(named[name] for kind, named in parts.items() if name in named and part in ("", kind))
    return values


def winner(records: Mapping[int, Record]) -> int | None:
    """The configuration with the highest mean val skill, the first of equals; None where no trial left a record.

    Args:
        records: number → the record of its trial.
    """
    skills = {number: record.result.val.mean_skill for number, record in sorted(records.items())}
    finite = {number: skill for number, skill in skills.items() if skill == skill}
    return max(finite, key=lambda number: finite[number]) if finite else None
