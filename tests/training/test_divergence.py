"""A training that diverges stops, keeps its last good epoch, and says why."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mtlbench.config.plugins import Registry
from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Point
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial
from mtlbench.training.divergence import divergence
from tests.tiny import trials

EXPLODES = '''"""Divides by zero from some epoch on."""

from mtlbench.contract import Hyper, Strategy


class Explodes(Strategy):
    """Divides by zero from some epoch on."""

    first: int = Hyper(1, ge=0, help="the first epoch that explodes")

    def step(self, batch):
        losses = self.losses(batch)
        if self.run.epoch >= self.first:
            losses = {task: loss * float("inf") for task, loss in losses.items()}
        self.descend(losses)
        return losses
'''


def spec_of(folder: Path, first: int) -> TrialSpec:
    (folder / "explodes.py").write_text(EXPLODES)
    method = {"name": "explodes", "set": {"first": first}}
    return trials(folder, [method], registry=Registry([folder]), settings={"epochs": 4})[0]


def test_the_last_good_epoch_is_selected_and_the_rest_is_not_trained(tmp_path: Path) -> None:
    trial = Trial(spec_of(tmp_path, 2), tmp_path / "runs")
    reports = list(trial.epochs())
    assert len(reports) == 3
    assert "the loss of" in trial.state.stopped and "in epoch 2" in trial.state.stopped
    assert set(trial.state.selection.epochs.values()) <= {0, 1}
    trial.load_best()
    assert all(bool(weight.isfinite().all()) for weight in trial.network.parameters())


def test_a_stopped_training_stays_stopped_when_it_is_taken_up_again(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 1)
    assert len(list(Trial(spec, tmp_path / "runs").epochs())) == 2
    again = Trial(spec, tmp_path / "runs")
    assert not list(again.epochs())
    assert again.state.stopped


def test_nothing_to_select_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training stopped, since the loss of .* Lower the learning rate") as caught:
        run_trial(spec_of(tmp_path, 0), tmp_path / "runs", tmp_path / "results")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("losses", "parts", "stops"),
    [
        ({"a": 1.0, "b": 2.0}, [("a", "b")], False),
        ({"a": math.nan, "b": 2.0}, [("a", "b")], True),
        ({"a": math.nan, "b": 2.0}, [("a",), ("b",)], False),
        ({"a": math.nan, "b": math.inf}, [("a",), ("b",)], True),
        ({}, [("a",)], False),
    ],
)
def test_it_stops_when_no_independent_part_is_well(
    losses: dict[str, float], parts: list[tuple[str, ...]], stops: bool
) -> None:
    point = Point(
        epoch=5, phase="train", selectable=True, images=0, updates=0, training_flops=0, lr=0.1, train_loss=losses, val=None
    )
    assert bool(divergence(parts, [point])) == stops
