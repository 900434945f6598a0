"""Nothing on the way of a training step makes the host wait for a GPU.

With a GPU torch itself says so (`set_sync_debug_mode`). Without one the sources are read: the modules on a step's way call
nothing that reads a value back, and copy to the device in one way alone.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mtlbench
from mtlbench.config.plugins import Registry
from mtlbench.data.split import Split
from mtlbench.tasks import Depth
from tests.tiny import batch, build, strategy

PACKAGE = Path(str(mtlbench.__file__)).parent
ON_THE_WAY = [
    "data/loader.py",
    "data/augment.py",
    "contract/network.py",
    "contract/strategy.py",
    "networks/sharing.py",
    "networks/heads.py",
    "networks/residual.py",
    "training/updates.py",
]
READS_BACK = {"item", "cpu", "tolist", "nonzero", "numpy"}
ALLOWED = {
    ("data/loader.py", "numpy"): "positions in the split are on the CPU",
}


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_no_module_on_the_way_reads_a_value_back(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    calls = [
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert [call for call in calls if call in READS_BACK and (name, call) not in ALLOWED] == []


@pytest.mark.parametrize("name", ["data/augment.py", "data/loader.py"])
def test_copies_to_the_device_go_one_way(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    moves = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("to", "cuda", "new_tensor")
    ]
    assert [ast.unparse(move) for move in moves] == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_never_waits_for_the_gpu() -> None:
    device = torch.device("cuda")
    network = build(Registry().architecture("hard_sharing").cls).to(device)
    training = strategy(Registry().strategy("equal").cls, network)
    sample = batch()
    targets = {task: target.to(device) for task, target in sample.targets.items()}
    moved = replace(sample, image=sample.image.to(device), targets=targets)
    training.step(moved)
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.step(moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("side", "expected"), [(16, 256), (4096, 4)])
def test_targets_are_read_in_chunks_of_bounded_memory(side: int, expected: int) -> None:
    task = Depth("depth")
    count = 300 if side == 16 else 5
    depth = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (count, 1, side, side), (0, 0, 0, 0))
    image = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (count, side, side, 3), (0, 0, 0, 0))
    split = Split.__new__(Split)
    split.ids, split.images = tuple(map(str, range(count))), image
    split._arrays = {"depth": depth}
    split.tensors = {"depth": torch.zeros(1).expand(count, 1, side, side)}
    assert len(next(split.chunks(task))) == expected
