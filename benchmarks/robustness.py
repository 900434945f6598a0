"""What evaluating under corruption costs beside clean evaluation: time of all 75 cells over time of 75 clean passes.

    python benchmarks/robustness.py [--backbones resnet18 resnet_tiny] [--size 128x256] [--images 16] [--threads 1]

Both sides are whole passes (reading, network, metrics) of a hard-sharing network with two dense tasks and random weights,
interleaved, so that a machine that slows down slows both. The bounds are 1.1 for the dilated resnet18 and 1.5 for
resnet_tiny with heads as narrow as those of the smallest datasets, at 128x256 and in one thread.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.config.settings import Settings
from mtlbench.contract import NetworkConfig
from mtlbench.data.split import Split
from mtlbench.measure.corruptions import COMMON, SEVERITIES
from mtlbench.measure.evaluator import Evaluator
from mtlbench.measure.robustness import Corrupted
from mtlbench.measure.skill_scale import SkillScale
from mtlbench.networks.placement import on_device
from mtlbench.tasks import Depth, Segmentation

TASKS = (Segmentation("segmentation", 19), Depth("depth", inverse=True))
BOUNDS = {"resnet18": 1.1, "resnet_tiny": 1.5}
SMALL: dict[str, Any] = {"output_stride": 16, "head_width": 32, "head_rates": (1, 2, 3)}
"""The heads and the stride that go with resnet_tiny: the less the network costs, the more a corruption weighs."""


def example(
    backbone: str, height: int, width: int, images: int, batch: int, device: torch.device
) -> tuple[nn.Module, Evaluator, Split]:
    """A network with random weights, and an evaluator of smooth random images."""
    settings = Settings(backbone=backbone, **(SMALL if backbone == "resnet_tiny" else {}))
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    config = NetworkConfig(TASKS, (height, width), settings.backbone_spec(), settings.head_spec(), mean, std, seed=0)
    method = resolve("hard_sharing", {}, Registry())
    network = method.architecture.cls(config, method.architecture_hypers)
    deployed = on_device(network, device).deploy().eval()
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(images, 3, height // 8, width // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    random = np.random.default_rng(0)
    arrays = {
        "image": smooth.mul(255).byte().permute(0, 2, 3, 1).contiguous().numpy(),
        "segmentation": random.integers(0, 19, (images, height, width)).astype(np.uint8),
        "depth": random.uniform(0.01, 1, (images, 1, height, width)).astype(np.float32),
    }
    split = Split(
        "test",
        TASKS,
        arrays,
        labelled={task.name: np.ones(images, bool) for task in TASKS},
        ids=[str(i) for i in range(images)],
        scenes=[None] * images,
        mean=mean,
    )
    return deployed, Evaluator("benchmark", SkillScale(TASKS, split), device, batch), split


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time of one run; on a CPU with one thread that thread's own time, which other processes do not add to."""
    own = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if own else time.perf_counter
    started = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BOUNDS))
    parser.add_argument("--size", default="128x256", help="height x width")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="images in an evaluation batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = (int(side) for side in arguments.size.split("x"))
    device = torch.device(arguments.device)
    print(f"{arguments.size}, {arguments.images} images, {device}, {arguments.threads} thread(s); ms per image and pass")
    print(f"{'backbone':12} {'clean':>8} {'corrupted':>10} {'ratio':>7} {'bound':>6}")
    for backbone in arguments.backbones:
        network, evaluator, split = example(backbone, height, width, arguments.images, arguments.batch, device)
        for name in COMMON:  # tables and textures are made once per process
            Corrupted("benchmark", split, name, 1)(split.batch(torch.arange(min(2, arguments.images)), device))
        evaluator.evaluate(network, split)
        clean, corrupted = [], []
        for name in COMMON:
            clean.append(seconds(partial(evaluator.evaluate, network, split), device))
            for severity in SEVERITIES:
                change = Corrupted("benchmark", split, name, severity)
                corrupted.append(seconds(partial(evaluator.evaluate, network, split, change), device))
        means = [1e3 * sum(times) / len(times) / arguments.images for times in (clean, corrupted)]
        bound = f"{BOUNDS[backbone]:.1f}" if backbone in BOUNDS else "-"
        print(f"{backbone:12} {means[0]:8.2f} {means[1]:10.2f} {means[1] / means[0]:7.3f} {bound:>6}", flush=True)


if __name__ == "__main__":
    main()
