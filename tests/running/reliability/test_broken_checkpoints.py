"""A checkpoint that cannot be read costs one epoch, never the trial: the one before it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import read
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial
from tests.tiny import trials


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path) -> None:
    path.write_text("something else", encoding="utf-8")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def spec(folder: Path) -> TrialSpec:
    return trials(folder, ["hard_sharing"])[0]


@pytest.fixture(scope="module")
def whole(spec: TrialSpec, folder: Path) -> str:
    return read(run_trial(spec, folder / "whole", folder / "results")).result.model_dump_json()


def interrupted(spec: TrialSpec, work: Path, epochs: int = 2) -> Path:
    """The folder of a trial that was killed after some epochs."""
    trial = Trial(spec, work)
    reports = trial.epochs()
    for _ in range(epochs):
        next(reports)
    return trial.folder


def resumed(spec: TrialSpec, work: Path) -> tuple[str, list[str], list[int]]:
    """The result, the notes, and the epochs that were trained."""
    notes: list[str] = []
    trained: list[int] = []
    path = run_trial(spec, work, work / "results", lambda report: trained.append(report.epoch), note=notes.append)
    return read(path).result.model_dump_json(), notes, trained


@pytest.mark.parametrize("damage", [truncate, spoil, empty, Path.unlink])
def test_the_previous_one_is_used(damage: Callable[[Path], None], spec: TrialSpec, whole: str, tmp_path: Path) -> None:
    trial_folder = interrupted(spec, tmp_path)
    damage(trial_folder / "checkpoint.pt")
    result, notes, trained = resumed(spec, tmp_path)
    assert (result, trained) == (whole, [2, 3])
    if damage is not Path.unlink:
        (note,) = notes
        assert "checkpoint.pt" in note and "the previous checkpoint is used" in note and "\n" not in note


def test_without_a_previous_one_training_begins_anew(spec: TrialSpec, whole: str, tmp_path: Path) -> None:
    truncate(interrupted(spec, tmp_path, epochs=1) / "checkpoint.pt")
    result, (note,), trained = resumed(spec, tmp_path)
    assert (result, trained) == (whole, [1, 2, 3])
    assert "training begins anew" in note


def test_lost_selected_weights_are_trained_for_again(spec: TrialSpec, whole: str, tmp_path: Path) -> None:
    """They lie beside the checkpoint, which is of no use without them."""
    for path in interrupted(spec, tmp_path).glob("best-*.pt"):
        truncate(path)
    result, notes, trained = resumed(spec, tmp_path)
    assert result == whole
    assert notes and len(trained) >= 2


def test_the_previous_one_keeps_what_it_refers_to_and_nothing_older_stays(spec: TrialSpec, tmp_path: Path) -> None:
    trial = Trial(spec, tmp_path)
    for report in trial.epochs():
        assert (trial.folder / "previous.pt").is_file() == (report.epoch > 1)
        assert len(list(trial.folder.glob("best-*.pt"))) <= 2
        assert not list(trial.folder.glob("*.tmp"))
    trial.clear()
    assert not list(trial.folder.glob("*.pt"))
