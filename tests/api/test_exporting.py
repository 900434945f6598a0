"""Exported networks: equal to the original for any batch size, or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtlbench.api import Trained
from mtlbench.api.exporting import BATCHES, EXAMPLE, TOLERANCE, export
from mtlbench.errors import UserError
from mtlbench.tasks import Depth
from tests import tiny_methods
from tests.finished_trials import finished
from tests.tiny_methods import MIXED_TASKS, network_config

RUN = """
import sys, torch
images = torch.load("images.pt")
torch.save(torch.export.load(sys.argv[1]).module()(images), "outputs.pt")
assert "mtlbench" not in sys.modules
"""


def stand_in(network: nn.Module, **tasks: Any) -> Trained:
    """A network as if it had been trained."""
    return Trained(finished().records[0], network.eval(), tasks or {"depth": Depth("depth")}, (16, 16))


@pytest.mark.long
def test_a_program_runs_without_mtlbench_and_gives_the_same(tmp_path: Path) -> None:
    trained = Trained.from_record(finished().id, runs=finished().runs, results=finished().results)
    exported = export(trained, tmp_path / "folder" / "network.pt2")
    assert exported.path.stat().st_size == exported.bytes
    assert set(exported.differences) == set(trained.tasks)
    assert max(exported.differences.values()) <= TOLERANCE
    images = torch.rand(4, 3, *trained.image_size)
    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", RUN, str(exported.path)], cwd=tmp_path, check=True)
    with torch.no_grad():
        for task, output in trained.network(images, None, None).items():
            torch.testing.assert_close(torch.load(tmp_path / "outputs.pt")[task], output)


def test_the_exported_program_is_equal_for_every_batch_size(tmp_path: Path) -> None:
    tasks = {task.name: task for task in MIXED_TASKS}
    network = tiny_methods.network("hard_sharing", MIXED_TASKS).deploy().eval()
    exported = export(stand_in(network, **tasks), tmp_path / "folder" / "network.pt2")
    assert exported.path.stat().st_size == exported.bytes
    assert max(exported.differences.values()) <= TOLERANCE
    images = torch.rand(7, 3, 16, 16)
    with torch.no_grad():
        outputs = torch.export.load(str(exported.path)).module()(images)
        for task, expected in network(images).items():
            torch.testing.assert_close(outputs[task], expected)


class Forgetful(nn.Module):
    """Gives other outputs for batches of another size than the one that it was exported with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        self.calls = 0

    def forward(self, image: Tensor, tasks: object, rows: object) -> dict[str, Tensor]:
        self.calls += 1
        return {"depth": self.layer(image) * (2.0 if self.calls > 1 else 1.0)}


class Asking(nn.Module):
    """Cannot be exported: what it does depends on what the image holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)

    def forward(self, image: Tensor, tasks: object, rows: object) -> dict[str, Tensor]:
        return {"depth": self.layer(image) if image.mean().item() > 0.5 else image}


def test_a_file_that_differs_from_the_network_is_removed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"differs from the original by 0.5 of the largest output \(depth\)"):
        export(stand_in(Forgetful()), tmp_path / "network.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The network cannot be exported") as caught:
        export(stand_in(Asking()), tmp_path / "network.pt2")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"expected a name that ends in .pt2 \(PyTorch\) or .onnx"):
        export(stand_in(Asking()), tmp_path / "network.pt")


def test_the_compared_batches_are_of_other_sizes_than_the_example() -> None:
    assert EXAMPLE not in BATCHES and 1 in BATCHES


def test_onnx_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    trained = Trained.from_record(finished().id, runs=finished().runs, results=finished().results)
    exported = export(trained, tmp_path / "network.onnx")
    assert set(exported.differences) == set(trained.tasks)


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"ONNX needs the package onnxruntime: pip install 'mtlbench\[onnx\]'"):
        export(stand_in(Forgetful()), tmp_path / "network.onnx")


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(tiny_methods.Registry().architectures()))
def test_every_architecture_can_be_exported(name: str, tmp_path: Path) -> None:
    tasks = {task.name: task for task in MIXED_TASKS}
    network = tiny_methods.build(tiny_methods.architecture_class(name), network_config(MIXED_TASKS)).eval()
    exported = export(stand_in(network.deploy(), **tasks), tmp_path / "network.pt2")
    assert set(exported.differences) == set(tasks)
