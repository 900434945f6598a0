"""Commands that share a folder of checkpoints do each trial once, and a record that was lost is not trained for again."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running import run_trial as module
from mtlbench.running.exclusive import finished_record
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial
from mtlbench.training.report import EpochReport
from tests.tiny import trials


def in_another_process(spec: str, work: str, results: str, trained: str) -> None:
    def note(report: EpochReport) -> None:
        with Path(trained).open("a") as file:
            file.write(f"{report.epoch}\n")

    run_trial(TrialSpec.model_validate_json(spec), Path(work), Path(results), note)


def test_two_processes_train_a_trial_once_and_both_have_its_record(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    context = multiprocessing.get_context("spawn")
    arguments = [
        (spec.model_dump_json(), str(tmp_path / "runs"), str(tmp_path / name), str(tmp_path / "trained")) for name in "ab"
    ]
    processes = [context.Process(target=in_another_process, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "trained").read_text().split() == ["1", "2", "3"]
    first, second = (path.read_bytes() for path in sorted(tmp_path.glob("[ab]/streets/*.json")))
    assert first == second


def test_a_lost_record_is_handed_over_again_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    path = run_trial(spec, tmp_path / "runs", tmp_path / "results")
    content = path.read_bytes()
    path.unlink()

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("the trial was put together again")

    monkeypatch.setattr(module, "Trial", fail)
    assert run_trial(spec, tmp_path / "runs", tmp_path / "results").read_bytes() == content


def test_kept_epochs_that_are_wanted_and_missing_are_trained_for(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    run_trial(spec, tmp_path / "runs", tmp_path / "results")
    assert finished_record(spec, tmp_path / "runs", keep=False) is not None
    assert finished_record(spec, tmp_path / "runs", keep=True) is None


def test_the_checkpoint_stays_until_the_record_is_confirmed(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    trial = Trial(spec, tmp_path / "runs")
    assert len(list(trial.epochs())) == 3
    trial.finish(tmp_path / "results")
    assert (trial.folder / "checkpoint.pt").is_file()
    assert not list(Trial(spec, tmp_path / "runs").epochs()), "nothing is left to train"
    trial.clear()
    assert not (trial.folder / "checkpoint.pt").exists()
