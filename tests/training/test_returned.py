"""What a plugin returns is checked, and a mistake is said in one line that names its file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import JacobianStrategy, TaskLosses
from mtlbench.errors import UserError
from mtlbench.running.run_trial import run_trial
from mtlbench.training.returned import check_losses, place_of
from mtlbench.training.state import steps_on_host
from tests.tiny import batch, build, strategy, trials

METHOD = '''"""Returns what it should not."""

from mtlbench.contract import Strategy


class Wrong(Strategy):
    """Returns what it should not."""

    def step(self, batch):
        losses = self.losses(batch)
        self.descend(losses)
        {last}
'''


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("pass", r"returned NoneType, expected a dict from task to scalar loss"),
        ("return sum(losses.values())", r"returned Tensor, expected a dict"),
        ("return {**losses, 'speed': losses['depth']}", r"returned a loss of 'speed', expected those of segmentation"),
        ("return {'depth': losses['depth'].repeat(2)}", r"returned \[2\] as the loss of depth, expected a scalar tensor"),
    ],
)
def test_a_step_that_returns_something_else_is_named_with_its_file(last: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(METHOD.format(last=last))
    (spec,) = trials(tmp_path, ["wrong"], registry=Registry([tmp_path]))
    with pytest.raises(UserError, match=message) as caught:
        run_trial(spec, tmp_path / "runs", tmp_path / "results")
    assert "Wrong.step" in str(caught.value) and "wrong.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_the_wrong_length_are_named_with_their_file() -> None:
    class Short(JacobianStrategy):
        def weights(self, gramian: torch.Tensor, losses: TaskLosses) -> torch.Tensor:
            return torch.ones(1)

    architecture = Registry().architecture("hard_sharing").cls
    with pytest.raises(UserError, match=r"Short.weights \(.*test_returned.py\) returned \[1\], expected .* shape \[3\]"):
        strategy(Short, build(architecture)).step(batch())


def test_a_place_is_found_through_partial_functions() -> None:
    assert "check_losses" in place_of(partial(partial(check_losses, {}), print))
    assert place_of(len) == "builtin_function_or_method.len" or "len" in place_of(len)


def test_step_counts_stay_on_the_cpu_and_moments_where_they_are() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    moved = steps_on_host(state)
    assert moved["state"][0]["step"].device.type == "cpu"
    assert moved["state"][0]["exp_avg"] is state["state"][0]["exp_avg"]
    optimizer.load_state_dict(moved)


def test_a_network_refuses_bytes() -> None:
    network = build(Registry().architecture("hard_sharing").cls)
    with pytest.raises(TypeError, match=r"expected float images in \[0, 1\], got torch.uint8"):
        network(torch.zeros(1, 3, 32, 64, dtype=torch.uint8))
