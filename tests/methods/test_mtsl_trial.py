"""MTSL through whole trials: killed before, within and after amalgamation it ends in the same record."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import mtsl_toys  # noqa: F401  (registers the smallest backbone)
import pytest

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import Trial
from tests.tiny import STREETS, trials

FEW = {**STREETS, "train": 16, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mtsl")


@pytest.fixture(autouse=True)
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting FLOPs takes ten times as long as these networks' steps."""
    for module in ("mtlbench.running.trial", "mtlbench.running.record_builder", "mtlbench.methods._shared_tree"):
        for name in ("count_flops", "inference_flops"):
            answer = {"all": 1} if name == "inference_flops" else 1
            counted = lambda run, *_, answer=answer: (run() if answer == 1 else None, answer)[1]  # noqa: E731
            monkeypatch.setattr(f"{module}.{name}", counted, raising=False)


def spec(folder: Path, hypers: dict[str, Any], **settings: Any) -> TrialSpec:
    settings = {"epochs": 7, "backbone": "resnet_toy", **settings}
    (found,) = trials(folder, [{"name": "mtsl", "set": hypers}], options=FEW, settings=settings)
    return found


def result(one: Trial, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one.finish(folder).read_text())["result"]
    return found


@pytest.mark.parametrize(
    ("hypers", "settings", "stops"),
    [
        ({"threshold": 0.5}, {}, (1, 1, 2)),
        ({"threshold": 0.97, "amalgamation": 0.75, "first": 0.1, "last": 0.85}, {"epochs": 12}, (2, 1, 4)),
        ({"threshold": 0.5, "transfer": "average"}, {"epochs": 7, "budget": "paper"}, (2, 3)),
    ],
    ids=["within an epoch", "over epochs", "average"],
)
def test_killed_and_resumed(
    hypers: dict[str, Any], settings: dict[str, Any], stops: tuple[int, ...], cached: Path, tmp_path: Path
) -> None:
    one = spec(cached, hypers, **settings)
    straight = Trial(one, tmp_path / "straight")
    names = [progress.phase for progress in straight.epochs()]
    expected = result(straight, tmp_path)
    for epochs in stops:
        list(islice(Trial(one, tmp_path / "again").epochs(), epochs))
    again = Trial(one, tmp_path / "again")
    rest = [progress.phase for progress in again.epochs()]
    assert names[sum(stops) :] == rest
    assert result(again, tmp_path) == expected
    history = expected["structure"]["history"]
    assert any(entry["merged"] for entry in history)
    assert [point["selectable"] for point in expected["curve"]] == [name == "final" for name in names]


def test_measuring_similarity_is_part_of_what_training_costs(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a threshold that merges nothing a structural phase learns tasks as the first does, and measures besides."""
    monkeypatch.undo()
    trial = Trial(spec(cached, {"threshold": 1.05, "alignment": 0.0}), tmp_path)
    list(trial.epochs())
    by_phase = trial.by_phase
    assert by_phase["structure 1"]["images"] == by_phase["final"]["images"] / trial.phases[-1].epochs
    each = by_phase["final"]["training_flops"] / trial.phases[-1].epochs
    assert each < by_phase["structure 1"]["training_flops"] < 2 * each
    assert trial.training_flops == sum(one["training_flops"] for one in by_phase.values())


def test_diagnosed_and_killed_within_a_structural_phase(cached: Path, tmp_path: Path) -> None:
    """The merge changes what is shared and who steps it: what the weights travel is counted anew, and resumes."""
    hypers = {"threshold": -1.0, "amalgamation": 0.3, "first": 0.1, "last": 0.85}
    one = spec(cached, hypers, epochs=12).model_copy(update={"diagnose": ("gradients",)})
    straight = Trial(one, tmp_path / "straight")
    list(straight.epochs())
    expected = result(straight, tmp_path)
    phases = expected["artefacts"]["diagnostics"]["phases"]
    merged = [phase for phase in phases if phase["phase"].startswith("structure") and phase["updates"] > 1]
    assert len(merged) >= 4 and all(phase["path_length"] > 0 for phase in merged)
    assert expected["extra"]["path length"] == pytest.approx(sum(phase["path_length"] for phase in phases))
    for epochs in (3, 1, 1):
        list(islice(Trial(one, tmp_path / "again").epochs(), epochs))
    again = Trial(one, tmp_path / "again")
    list(again.epochs())
    assert result(again, tmp_path) == expected
