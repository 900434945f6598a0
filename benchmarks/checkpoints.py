"""What checkpoints cost: seconds and bytes of saving one, and of keeping the one before it.

python benchmarks/checkpoints.py [--backbone resnet18] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mtlbench.networks.backbone import Backbone, BackboneSpec
from mtlbench.training.checkpoints import CheckpointStore


def median_seconds(action: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    network = Backbone(BackboneSpec(arguments.backbone))
    optimizer = torch.optim.Adam(network.parameters())
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = CheckpointStore(folder / "kept")

        def save_plainly() -> None:
            torch.save(state, folder / "plain.tmp")
            (folder / "plain.tmp").replace(folder / "plain.pt")

        plain = median_seconds(save_plainly, arguments.repeat)
        kept = median_seconds(lambda: store.save(state), arguments.repeat)
        one = store.newest.stat().st_size
        both = one + store.previous.stat().st_size
    print(f"{arguments.backbone} with Adam, without heads, median of {arguments.repeat}")
    print(f"  saved and renamed:                                    {plain:.3f} s, {one / 1e6:.0f} MB")
    print(f"  flushed to the disk, and the previous one kept:       {kept:.3f} s, {both / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
