"""Time one training step of every strategy against a bare loop that sums the losses and steps.

    python benchmarks/steps.py [--methods pcgrad famo] [--rounds 5] [--threads 2] [--clock wall] [--device cpu] [--small]

The workload is that of 128 × 256 Cityscapes: batch 8, 7-class segmentation and depth, dilated ResNet-18 with ASPP heads,
Adam, fp32. Rounds are interleaved: in each the bare loop and every strategy are timed once, and the table shows the median
over the rounds of the ratio to that round's bare loop, beside the ratio of the FLOPs (one step, `torch.utils.flop_counter`)
and the bound. On a busy machine `--clock cpu` counts the process's own time. On a GPU the peak memory is compared too.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median

import torch

from mtlbench.contract import Architecture, Batch, Blueprint, Budget, JacobianStrategy, OptimizerSpec, Run, Strategy
from mtlbench.measure.cost import count_flops
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Depth, Segmentation

METHODS = (
    *("equal", "fixed", "uncertainty", "dwa", "rlw", "gls", "log_loss", "dtp", "famo", "gradnorm"),
    *("mgda", "pcgrad", "graddrop", "gradvac", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad", "alternating"),
)
TASKS = (Segmentation("segmentation", 7), Depth("depth"))


@dataclass
class Contestant:
    """One way to make a step, and what was measured of it."""

    name: str
    step: Callable[[Batch], object]
    bound: Callable[[float], float]
    flops: int = 0
    memory: int = 0
    ratios: list[float] = field(default_factory=list)


def bound_of(name: str, cls: type[Strategy]) -> Callable[[float], float]:
    """The largest acceptable ratio to the bare loop's time, given the ratio of the FLOPs."""
    if issubclass(cls, JacobianStrategy):
        return lambda flops: 1.44
    return {
        "famo": lambda flops: 1.40,
        "gradnorm": lambda flops: 1.35,
        "alternating": lambda flops: 1.05 * flops,
    }.get(name, lambda flops: 1.03)


def load(name: str) -> type:
    """The class of a method file."""
    module = import_module(f"mtlbench.methods.{name}")
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    return next(one for one in classes if issubclass(one, (Architecture, Strategy)))


def workload(device: torch.device, small: bool) -> tuple[Architecture, Batch]:
    """The network and one batch of random images and labels."""
    size, backbone, count = ((32, 64), "resnet_tiny", 2) if small else ((128, 256), "resnet18", 8)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    blueprint = Blueprint(TASKS, size, BackboneSpec(backbone, output_stride=8), HeadSpec(), mean, std, seed=0)
    network = load("hard_sharing")(blueprint, {}).to(device).train()
    draw = torch.Generator().manual_seed(0)
    targets = {
        "segmentation": torch.randint(0, 7, (count, *size), generator=draw, dtype=torch.uint8).to(device),
        "depth": (torch.rand(count, 1, *size, generator=draw) + 0.1).to(device),
    }
    image = torch.rand(count, 3, *size, generator=draw).to(device)
    labelled = {task.name: torch.ones(count, dtype=torch.bool) for task in TASKS}
    return network, Batch(image, targets, labelled, torch.arange(count))


def bare(network: Architecture) -> Callable[[Batch], object]:
    """What one writes by hand: forward, sum, backward, step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        predictions = network(batch.image)
        loss = sum(task.loss(predictions[name], batch.targets[name]) for name, task in network.tasks.items())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()

    return step


def contestants(network: Architecture, names: list[str], device: torch.device) -> list[Contestant]:
    """The bare loop first, then the strategies whose packages are there."""
    made = [Contestant("bare loop", bare(network), lambda flops: 1.0)]
    optimizer = OptimizerSpec("adam", lr=1e-4, schedule="constant")
    for name in names:
        cls: type[Strategy] = load(name)
        missing = [package for package in cls.requires if find_spec(package) is None]
        if missing:
            print(f"{name}: left out, it needs {', '.join(missing)}: {cls.requires[missing[0]]}")
            continue
        run = Run(0, Budget("equal_total", 1), optimizer, 8, 8, device)
        strategy = cls(network, run, cls.configure({}, name))
        strategy.start()
        made.append(Contestant(name, strategy.step, bound_of(name, cls)))
    return made


def timed(step: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    """Seconds of one step."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(all_: list[Contestant], batch: Batch, rounds: int, clock: Callable[[], float]) -> list[float]:
    """Fill in FLOPs, memory and ratios; returns the bare loop's seconds."""
    device, bare_seconds = batch.image.device, []
    for one in all_:
        one.flops = count_flops(partial(one.step, batch))  # also the warm-up
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            base = torch.cuda.memory_allocated()
            one.step(batch)
            one.memory = torch.cuda.max_memory_allocated() - base
    for number in range(rounds):
        # Everyone starts a round in turn: what the caches and the neighbours do favours no place.
        start = number * len(all_) // rounds
        seconds = {id(one): timed(partial(one.step, batch), device, clock) for one in all_[start:] + all_[:start]}
        bare_seconds.append(seconds[id(all_[0])])
        for one in all_:
            one.ratios.append(seconds[id(one)] / bare_seconds[-1])
    return bare_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="a tiny network and batch, to see that everything runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    network, batch = workload(device, options.small)
    all_ = contestants(network, options.methods, device)
    seconds = measure(all_, batch, options.rounds, time.perf_counter if options.clock == "wall" else time.process_time)

    base = all_[0]
    print(f"bare loop: {1e3 * median(seconds):.0f} ms ({options.clock} clock), {base.flops / 1e9:.1f} GFLOPs")
    head = f"{'step':14s} {'time':>6s} {'range':>13s} {'FLOPs':>6s} {'time/FLOPs':>10s} {'bound':>6s}"
    print(head + (" memory" if base.memory else ""))
    for one in all_[1:]:
        ratio, flops = median(one.ratios), one.flops / base.flops
        bound = one.bound(flops)
        spread = f"{min(one.ratios):.2f} … {max(one.ratios):.2f}"
        memory = f" {one.memory / base.memory:6.2f}" if base.memory else ""
        verdict = "" if ratio <= bound else "  over"
        print(f"{one.name:14s} {ratio:6.2f} {spread:>13s} {flops:6.2f} {ratio / flops:10.2f} {bound:6.2f}{memory}{verdict}")


if __name__ == "__main__":
    main()
