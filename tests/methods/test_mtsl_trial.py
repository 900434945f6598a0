"""MTSL through whole trials: killed before, within and after amalgamation it ends in the same record."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import Trial
from tests.tiny import STREETS, trials
from tests.tiny_methods import SMALLEST

FEW = {**STREETS, "train": 16, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mtsl")


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting FLOPs takes ten times as long as these networks' steps: without it all are 0."""
    monkeypatch.setattr(FlopCounterMode, "__enter__", lambda counter: counter)
    monkeypatch.setattr(FlopCounterMode, "__exit__", lambda counter, *error: None)


def spec(folder: Path, hypers: dict[str, Any], **settings: Any) -> TrialSpec:
    settings = {"epochs": 7, "backbone": SMALLEST, **settings}
    (trial,) = trials(folder, [{"name": "mtsl", "set": hypers}], options=FEW, settings=settings)
    return trial


def result(trial: Trial, folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(trial.finish(folder).read_text())["result"]
    return values


@pytest.mark.parametrize(
    ("hypers", "settings", "stops"),
    [
        ({"threshold": 0.5}, {}, (1, 1, 2)),
        ({"threshold": 0.97, "amalgamation": 0.75, "first": 0.1, "last": 0.85}, {"epochs": 12}, (2, 1, 4)),
        ({"threshold": 0.5, "transfer": "average"}, {"epochs": 7, "budget": "paper"}, (2, 3)),
    ],
    ids=["within an epoch", "over epochs", "average"],
)
@pytest.mark.usefixtures("uncounted")
def test_killed_and_resumed(
    hypers: dict[str, Any], settings: dict[str, Any], stops: tuple[int, ...], cached: Path, tmp_path: Path
) -> None:
    trial = spec(cached, hypers, **settings)
    straight = Trial(trial, tmp_path / "straight")
    names = [progress.phase for progress in straight.epochs()]
    expected = result(straight, tmp_path)
    for epochs in stops:
        list(islice(Trial(trial, tmp_path / "again").epochs(), epochs))
    again = Trial(trial, tmp_path / "again")
    rest = [progress.phase for progress in again.epochs()]
    assert names[sum(stops) :] == rest
    assert result(again, tmp_path) == expected
    history = expected["structure"]["history"]
    assert any(entry["merged"] for entry in history)
    assert [point["selectable"] for point in expected["curve"]] == [name == "final" for name in names]


def test_measuring_similarity_is_part_of_what_training_costs(cached: Path, tmp_path: Path) -> None:
    """With a threshold that merges nothing a structural phase learns tasks as the first does, and measures besides."""
    trial = Trial(spec(cached, {"threshold": 1.05, "alignment": 0.0}), tmp_path)
    list(trial.epochs())
    costs, epochs = trial.state.cost.phases, trial.state.phases[-1].epochs
    assert costs["structure 1"]["images"] == costs["final"]["images"] / epochs
    per_epoch = costs["final"]["training_flops"] / epochs
    assert per_epoch < costs["structure 1"]["training_flops"] < 2 * per_epoch
    assert trial.state.cost.training_flops == sum(cost["training_flops"] for cost in costs.values())


@pytest.mark.usefixtures("uncounted")
def test_diagnosed_and_killed_within_a_structural_phase(cached: Path, tmp_path: Path) -> None:
    """The merge changes what is shared and who steps it: what the weights travel is counted anew, and resumes."""
    hypers = {"threshold": -1.0, "amalgamation": 0.3, "first": 0.1, "last": 0.85}
    trial = spec(cached, hypers, epochs=12).model_copy(update={"diagnose": ("gradients",)})
    straight = Trial(trial, tmp_path / "straight")
    list(straight.epochs())
    expected = result(straight, tmp_path)
    phases = expected["artefacts"]["diagnostics"]["phases"]
    merged = [phase for phase in phases if phase["phase"].startswith("structure") and phase["updates"] > 1]
    assert len(merged) >= 4 and all(phase["path_length"] > 0 for phase in merged)
    assert expected["extra"]["path length"] == pytest.approx(sum(phase["path_length"] for phase in phases))
    for epochs in (3, 1, 1):
        list(islice(Trial(trial, tmp_path / "again").epochs(), epochs))
    again = Trial(trial, tmp_path / "again")
    list(again.epochs())
    assert result(again, tmp_path) == expected
