"""Trials of a search that are ended early, or go on where their folder is not: the record is what it must be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record, read
from mtlbench.running.early_stopping import EPOCH, SKILL, Desk, EarlyStopping, asha
from mtlbench.running.reproduction import plan_again
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial
from mtlbench.running.worker import PACKED, ends_early, make_worker, reported, take_up
from tests.tuning.studies import experiment, fabricated, studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moved")


@pytest.fixture(scope="module")
def trial(folder: Path) -> TrialSpec:
    """The first drawn configuration of hard sharing."""
    return studies(folder, experiment(["hard_sharing"]))[0].trial(1)


@pytest.fixture(scope="module")
def undisturbed(folder: Path, trial: TrialSpec) -> Record:
    return read(run_trial(trial, folder / "runs", folder / "results"))


class Local:
    """A desk without Ray: `desk.kept.remote(id)` is what `ray.get` gives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = Desk()
        monkeypatch.setattr(ray, "get", lambda answer: answer)

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.desk, name))


def test_a_trial_of_a_search_says_so(trial: TrialSpec, undisturbed: Record) -> None:
    assert undisturbed.id == trial.id and undisturbed.tuning == trial.tuning
    assert undisturbed.protocol["tuning"]["search"] == "sobol"  # type: ignore[index, call-overload]
    assert undisturbed.specification["settings"]["lr"] == trial.settings.lr  # type: ignore[index, call-overload]


def test_it_goes_on_where_its_folder_is_not(
    trial: TrialSpec, undisturbed: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Local(monkeypatch)
    first = Trial(trial, tmp_path / "here")
    report = next(first.epochs())
    assert reported(desk, first, report) == {EPOCH: 1, SKILL: report.val_skill}
    del first
    take_up(desk, trial, tmp_path / "there")
    second = Trial(trial, tmp_path / "there")
    assert [report.epoch for report in second.epochs()] == [2, 3]
    record = read(second.finish(tmp_path / "results"))
    assert json.dumps(record.result.model_dump()) == json.dumps(undisturbed.result.model_dump())
    # Where a checkpoint is, it is not replaced by an older one.
    before = second.checkpoints.pack()
    take_up(desk, trial, tmp_path / "there")
    assert second.checkpoints.pack() == before


def test_a_stopped_trial_ends_with_a_record_that_says_so(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Local(monkeypatch)
    running = Trial(trial, tmp_path / "runs")
    desk.desk.stop(trial.id)
    assert not ends_early(desk, running)  # no epoch yet
    next(running.epochs())
    assert ends_early(desk, running)
    record = read(running.finish(tmp_path / "results"))
    assert record.tuning is not None and record.tuning.stopped_after == 1 == len(record.result.curve)
    assert record.id == trial.id


def test_checkpoints_of_tune_carry_the_trial(trial: TrialSpec, tmp_path: Path) -> None:
    worker_class: Any = make_worker()
    here, there = (worker_class.__new__(worker_class) for _ in range(2))
    for worker, name in ((here, "here"), (there, "there")):
        worker._config = {"work": str(tmp_path / name), "id": trial.id}
    next(Trial(trial, tmp_path / "here").epochs())
    (tmp_path / "checkpoint").mkdir()
    here.save_checkpoint(str(tmp_path / "checkpoint"))
    assert (tmp_path / "checkpoint" / PACKED).is_file()
    there.load_checkpoint(str(tmp_path / "checkpoint"))
    assert [report.epoch for report in Trial(trial, tmp_path / "there").epochs()] == [2, 3]


def test_a_trial_of_a_search_can_be_planned_again(trial: TrialSpec, undisturbed: Record, folder: Path) -> None:
    again = plan_again(undisturbed, folder / "runs", trial.registry(), cache=folder / "cache")
    assert again.id == trial.id and again.protocol == trial.protocol


def test_every_study_has_rungs_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Local(monkeypatch)
    made = studies(folder, experiment(["hard_sharing", "dwa"], trials=8, scheduler="asha"))
    specs = {trial.id: trial for study in made for trial in map(study.trial, range(8))}
    scheduler = asha(specs, desk, EarlyStopping())

    def report(number: int, study: int, skill: float) -> None:
        name = made[study].trial(number).id
        running = SimpleNamespace(trial_id=name, config={"id": name})
        scheduler.on_trial_add(None, running)
        assert scheduler.on_trial_result(None, running, {"id": name, EPOCH: 1, SKILL: skill}) == "CONTINUE"

    for number in range(6):
        report(number, 0, 0.9 - 0.1 * number)
    # The first method's later trials are behind; the second's only trial has nothing to be compared with.
    report(0, 1, 0.1)
    stopped = {made[0].trial(number).id for number in range(1, 6)}
    assert desk.desk.stopped == stopped


def test_curves_of_finished_trials_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Local(monkeypatch)
    (study,) = studies(folder, experiment(["hard_sharing"], trials=8, scheduler="asha"))
    specs = {trial.id: trial for trial in map(study.trial, range(8))}
    good = [fabricated(study.trial(number), 0.1) for number in range(4)]
    scheduler = asha(specs, desk, EarlyStopping(good))
    running = SimpleNamespace(trial_id="new", config={"id": study.trial(5).id})
    scheduler.on_trial_add(None, running)
    scheduler.on_trial_result(None, running, {EPOCH: 1, SKILL: -0.9})
    assert desk.desk.stopped == {study.trial(5).id}
