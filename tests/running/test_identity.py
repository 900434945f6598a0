"""A worker runs what the record will claim: another plugin or other data on that machine are refused."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mtlbench.errors import UserError
from mtlbench.measure.kernels import use_reproducible_kernels
from mtlbench.measure.latency import measure
from mtlbench.running.trial import Trial, device_of
from tests.tiny import trials


def test_another_source_on_the_worker_is_refused(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    false = spec.model_copy(update={"sources": {**spec.sources, "hard_sharing": "0" * 16}})
    with pytest.raises(UserError, match=r"the plugin hard_sharing .* was planned with 0000"):
        Trial(false, tmp_path / "runs")


def test_other_data_on_the_worker_are_refused(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"])
    protocol = copy.deepcopy(spec.protocol)
    protocol["dataset"]["fingerprint"] = "f" * 64
    with pytest.raises(UserError, match="was planned with ffffffffffff"):
        Trial(spec.model_copy(update={"protocol": protocol}), tmp_path / "runs")


def test_a_trial_without_a_gpu_of_its_own_computes_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(0).type == "cpu"
    assert device_of(0.25).type == "cuda"


@pytest.mark.parametrize(("gpus", "has_bf16", "expected"), [(0.0, True, "fp32"), (1.0, True, "bf16"), (1.0, False, "fp32")])
def test_automatic_precision_follows_from_the_resources(
    gpus: float, has_bf16: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"], settings={"precision": "auto"}, bf16=lambda: gpus != 0 and has_bf16)
    assert spec.precision == spec.protocol["precision"] == expected
    if expected == "bf16":
        with pytest.raises(UserError, match=r"was planned as bf16, and the device that trains .cpu. has none"):
            Trial(spec, tmp_path / "runs", device=torch.device("cpu"))


def test_latency_is_measured_with_the_kernels_of_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Network(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(torch.are_deterministic_algorithms_enabled())
            return image

    use_reproducible_kernels(1)
    measure({"network": Network()}, (8, 8), 1)
    assert seen and not any(seen)
    use_reproducible_kernels(1)
    assert torch.are_deterministic_algorithms_enabled()


ONE_AFTER_ANOTHER = """
import torch
from mtlbench.measure.memory import PeakMemory

large = PeakMemory(torch.device("cpu"))
block = torch.ones(64 * 2**20)
print(large.bytes())
del block
small = PeakMemory(torch.device("cpu"))
block = torch.ones(8 * 2**20)
print(small.bytes())
"""


def test_the_order_of_trials_does_not_show_in_peak_memory() -> None:
    """A process that ran a large trial before measures the small one's memory, not the large one's."""
    # In a process of its own: what other tests left behind is freed at any moment.
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER]
    printed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    large, small = map(int, printed.split())
    assert large > 200 * 2**20
    assert 16 * 2**20 < small < 100 * 2**20
