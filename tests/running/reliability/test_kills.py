"""The kill that conformance injects is one in mid-epoch: after a checkpoint, with a step of the next epoch done and lost."""

from __future__ import annotations

from pathlib import Path

from mtlbench.conformance.trials import kill_in_next_epoch
from mtlbench.running.trial import Trial
from tests.tiny import trials


def test_the_next_epoch_has_made_a_step_that_no_checkpoint_knows_of(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["adashare"], settings={"epochs": 6})
    for number in range(6):
        trial = Trial(spec, tmp_path / "runs")
        kill_in_next_epoch(trial)
        assert len(trial.state.curve) == number + 1
        lost = trial.state.cost.images - trial.state.curve[-1].images
        assert 0 < lost <= spec.settings.batch_size if number < 5 else lost == 0
    phases = [point.phase for point in trial.state.curve]
    assert len(set(phases)) > 1, "kills fell into several phases"
    assert not list(Trial(spec, tmp_path / "runs").epochs())
