"""What every method must do in whole trials on a tiny dataset: end in a record, resume exactly, repeat to the byte."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from mtlbench.config.plugins import Registry
from mtlbench.conformance.network_checks import check_deployed, check_owners, check_parts, check_plain_data, check_restored
from mtlbench.conformance.suite import Failed, NotApplicable, Suite, seed_everything
from mtlbench.contract import TaskLosses
from mtlbench.planning.expansion import expand
from mtlbench.planning.experiment import make_experiment
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record, read
from mtlbench.running.trial import Trial, build_network, open_dataset

EXAMPLE = Path(__file__).with_name("example")
"""A plugin folder with the dataset of these trials."""

DATASET = "coloured_boxes"

EPOCHS = 3
"""Epochs of a trial, or what the method needs at least."""


@dataclass
class TrialSubject:
    """A method to be checked in trials, on the CPU.

    Attributes:
        name: an architecture with the default strategy, or a strategy on the default architecture.
        registry: where it is found.
        folder: for prepared data, checkpoints and records; empty at first.
    """

    name: str
    registry: Registry
    folder: Path

    @cached_property
    def spec(self) -> TrialSpec:
        """The trial's specification."""
        plugin = self.registry.method(self.name)
        least = getattr(plugin.cls, "minimum_epochs", 1)
        experiment = make_experiment(
            {
                "name": "conformance",
                "methods": [self.name],
                "datasets": [DATASET],
                "reference": False,
                "settings": {"epochs": max(EPOCHS, least)},
            },
            "conformance",
        )
        registry = Registry([EXAMPLE, *self.registry.folders])
        (spec,) = expand(
            experiment, registry, lambda data, plugin: open_dataset(data, plugin.cls), cache=self.folder / "cache"
        )
        return spec

    def start(self, name: str) -> Trial:
        """The trial, in a folder of its own by that name; goes on where the folder's checkpoint is."""
        return Trial(self.spec, self.folder / name, torch.device("cpu"))

    def finish(self, trial: Trial, name: str) -> str:
        """Train to the end and write the record. Returns its `result` as JSON."""
        for _ in trial.epochs():
            pass
        path = trial.finish(self.folder / f"{name}-results")
        return json.dumps(json.loads(path.read_text(encoding="utf-8"))["result"], sort_keys=True)

    @cached_property
    def undisturbed(self) -> tuple[Trial, str]:
        """The trained trial, and its result."""
        seed_everything(0)
        trial = self.start("undisturbed")
        return trial, self.finish(trial, "undisturbed")

    @cached_property
    def otherwise_seeded(self) -> str:
        """The result of the same trial under other global random states."""
        seed_everything(1234)
        return self.finish(self.start("otherwise-seeded"), "otherwise-seeded")

    @property
    def result(self) -> str:
        """The result of the undisturbed trial.

        Raises:
            NotApplicable: it did not end in one; the property `trial` says why.
        """
        try:
            return self.undisturbed[1]
        except Exception:
            raise NotApplicable("a trial does not end in a record (see `trial`)") from None


SUITE = Suite[TrialSubject]()


@SUITE.add
def trial(subject: TrialSubject) -> None:
    """A trial on a tiny dataset ends in a record whose numbers are finite."""
    trained, _ = subject.undisturbed
    if trained.state.stopped:
        raise Failed(f"training stopped early: {trained.state.stopped}")
    (path,) = (subject.folder / "undisturbed-results").rglob("*.json")
    record: Record = read(path)
    tasks = {task.name for task in record.tasks}
    if set(record.result.test.skill) != tasks:
        raise Failed(f"test has the skill of {', '.join(record.result.test.skill)}: expected {', '.join(sorted(tasks))}")
    for point in record.result.curve:
        for task, loss in point.train_loss.items():
            if not math.isfinite(loss):
                raise Failed(f"the training loss of {task} is {loss} in epoch {point.epoch} (phase {point.phase!r})")


@SUITE.add
def trained_network(subject: TrialSubject) -> None:
    """The trained network has the properties of a new one: owners, parts, structure, deployment, plain data."""
    _ = subject.result
    trained, _ = subject.undisturbed
    network = trained.network.train()
    batch = next(iter(trained.loader.plain()))
    check_owners(network, batch)
    check_parts(network)
    check_plain_data(network)
    check_deployed(network.deploy().eval(), trained.data.dataset.tasks)
    check_restored(network, build_network(trained.spec, trained.method, trained.data.dataset), batch.image)


@SUITE.add
def resume(subject: TrialSubject) -> None:
    """Killed in every epoch of every phase, and before its record, a resumed trial has the same result to the byte."""
    expected = subject.result
    count = len(json.loads(expected)["curve"])
    for number in range(count):
        seed_everything(number + 1)  # a new process has other random numbers
        kill_in_next_epoch(subject.start("resumed"))
    seed_everything(count + 1)
    trained = subject.start("resumed")
    if next(trained.epochs(), None) is not None:
        raise Failed(f"the trial has {count} epochs, and goes on after them when it is resumed")
    trained.load_best()  # killed while it is evaluated
    seed_everything(count + 2)
    resumed = subject.finish(subject.start("resumed"), "resumed")
    if resumed != expected:
        raise Failed(
            f"resumed after every epoch, the trial has another result: {first_difference(expected, resumed)}. What is "
            "remembered from one epoch to the next belongs in `structure()`, a buffer, or a phase's `state()`"
        )


class _Killed(BaseException):
    """Ends a training as a kill would: nothing of the harness handles it."""


def kill_in_next_epoch(trial: Trial) -> None:
    """Train one epoch to its checkpoint, and go on until the next epoch has made its first step.

    Where the next epoch is the first of a phase, the phase has begun, which no checkpoint tells.
    """
    epochs = trial.epochs()
    if next(epochs, None) is None:
        return
    train_batch = trial.trainer.train_batch

    def killing(*arguments: Any) -> TaskLosses:
        train_batch(*arguments)
        raise _Killed

    with patch.object(trial.trainer, "train_batch", killing), suppress(_Killed):
        next(epochs, None)


@SUITE.add
def repeatable(subject: TrialSubject) -> None:
    """The same trial has the same result to the byte."""
    expected = subject.result
    if subject.otherwise_seeded == expected:
        return
    seed_everything(0)
    repeated = subject.finish(subject.start("repeated"), "repeated")
    if repeated != expected:
        raise Failed(f"run again, the trial has another result: {first_difference(expected, repeated)}")


@SUITE.add
def global_random_state(subject: TrialSubject) -> None:
    """The result does not depend on the global random states of Python, NumPy and torch."""
    expected, other = subject.result, subject.otherwise_seeded
    if other != expected:
        raise Failed(
            "with other global random numbers the trial has another result: "
            f"{first_difference(expected, other)}. Draw with `run.generator(name)` or a strategy's `stream(name)`"
        )


def first_difference(expected: str, found: str) -> str:
    """Where two results (JSON) differ first, in words."""
    return next(_differences(json.loads(expected), json.loads(found), "result"), "in nothing that can be named")


def _differences(expected: object, found: object, place: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected:
            if key not in found:
                yield f"{place}.{key} is missing"
            else:
                yield from _differences(expected[key], found[key], f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (left, right) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(left, right, f"{place}[{number}]")
    elif expected != found and not (expected != expected and found != found):
        yield f"{place} is {str(found)[:60]}, and was {str(expected)[:60]}"
