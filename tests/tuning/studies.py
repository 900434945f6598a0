"""Studies on a small dataset, and records of their trials that were never trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtlbench.config.plugins import Registry
from mtlbench.data.store import Prepared
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import DatasetEntry, Experiment, MethodEntry, make_experiment
from mtlbench.planning.protocol import protocol_id
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record
from mtlbench.running.trial import open_dataset
from mtlbench.tuning.study import Study, studies_of
from tests.leaderboard import fabricate
from tests.tiny import SETTINGS, STREETS


def experiment(methods: Sequence[Any], seeds: int | list[int] = 2, reference: bool = False, **tune: Any) -> Experiment:
    """Methods on tiny streets."""
    return make_experiment(
        {
            "name": "test",
            "methods": list(methods),
            "datasets": [{"name": "streets", "set": STREETS}],
            "seeds": seeds,
            "reference": reference,
            "settings": SETTINGS,
            "tune": {"trials": 4, **tune},
        },
        "test",
    )


def studies(folder: Path, asked: Experiment, **overrides: Any) -> list[Study]:
    """The studies of an experiment, whose data are prepared in `folder` once."""
    registry = Registry()
    prepared: dict[str, Prepared] = {}

    def plan(dataset: DatasetEntry, method: MethodEntry, seeds: Sequence[int]) -> list[TrialSpec]:
        one = asked.model_copy(update={"datasets": [dataset], "methods": [method], "seeds": list(seeds), "reference": False})
        return expand(
            one,
            registry,
            lambda data, plugin: prepared.setdefault(data.name, open_dataset(data, plugin.cls)),
            cache=folder / "cache",
            overrides=overrides,
        )

    return studies_of(asked, registry, plan, overrides)


def fabricated(spec: TrialSpec, quality: float) -> Record:
    """What a trial would have left, had it become so good."""
    card = spec.protocol
    record = fabricate.record(spec.method, spec.data.name, spec.seed, quality=quality, card=card)
    return record.model_copy(
        update={
            "id": spec.id,
            "label": spec.label,
            "reference": spec.is_reference,
            "protocol_id": protocol_id(card),
            "changed": spec.hypers,
            "tuning": spec.tuning,
        }
    )


class Laboratory:
    """Runs trials by a formula, and remembers which it ran."""

    def __init__(self, quality: Callable[[TrialSpec], float | None]) -> None:
        self.quality = quality
        self.records: dict[str, Record] = {}
        self.ran: list[TrialSpec] = []

    def run(self, trials: list[TrialSpec]) -> None:
        for trial in trials:
            if trial.id not in self.records and (quality := self.quality(trial)) is not None:
                self.ran.append(trial)
                self.records[trial.id] = fabricated(trial, quality)

    def record_of(self, trial: TrialSpec) -> Record | None:
        return self.records.get(trial.id)
