"""Updates are counted where they happen: a plugin cannot say another number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mtlbench.config.plugins import Registry
from mtlbench.records import read
from mtlbench.running.run_trial import run_trial
from mtlbench.training.updates import UpdateCounter
from tests.tiny import trials

STEPS_PER_TASK = '''"""Steps once per task, and says nothing about it."""

from mtlbench.contract import Strategy


class PerTask(Strategy):
    """One optimizer step per task and batch."""

    def step(self, batch):
        for task in self.tasks:
            losses = self.losses(batch, [task])
            self.descend(losses)
        return self.losses(batch)
'''


def test_a_strategy_that_steps_per_task_is_recorded_with_all_its_steps(tmp_path: Path) -> None:
    (tmp_path / "per_task.py").write_text(STEPS_PER_TASK)
    (spec,) = trials(tmp_path, ["per_task"], registry=Registry([tmp_path]))
    spec = spec.model_copy(update={"files": {str(tmp_path / "per_task.py"): STEPS_PER_TASK}})
    cost = read(run_trial(spec, tmp_path / "runs", tmp_path / "results")).result.cost
    assert cost.updates == 4 * 3 * 3, "4 tasks, 3 batches, 3 epochs"


@pytest.mark.parametrize("method", ["famo", "gradnorm"])
def test_steps_of_weights_of_the_strategy_alone_do_not_count(method: str, tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, [method])
    assert read(run_trial(spec, tmp_path / "runs", tmp_path / "results")).result.cost.updates == 3 * 3


def test_only_steps_within_the_context_count() -> None:
    network = nn.Linear(2, 1)
    own, other = torch.optim.SGD(network.parameters(), lr=0.1), torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    counter = UpdateCounter(network)
    own.step()
    with counter.counting():
        own.step()
        own.step()
        other.step()
    own.step()
    assert counter.count == 2
