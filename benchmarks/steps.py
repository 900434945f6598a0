"""Time one training step of every strategy against a bare loop that sums the losses and steps.

    python benchmarks/steps.py [--methods pcgrad famo] [--rounds 5] [--threads 2] [--clock wall] [--device cpu] [--small]

The workload is that of 128 × 256 Cityscapes: batch 8, 7-class segmentation and depth, dilated ResNet-18 with ASPP heads,
Adam, fp32. Every timed step of a strategy stands between two of the bare loop, whose mean it is compared with, and the
rounds go over all strategies in turn; the table shows the median over the rounds of that ratio, beside the ratio of the
FLOPs (one step, `torch.utils.flop_counter`) and the bound. The time of Nash-MTL's solver is left out. On a busy machine
`--clock cpu` counts the process's own time.

Memory is the peak of a step over the bare loop's: of the device on a GPU, else (`--memory`) of a process of its own. What a
Jacobian strategy needs beside activations is one gradient of the shared weights per task; "net" leaves those out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.queues import Queue
from statistics import median
from typing import Any

import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import Architecture, Batch, Budget, JacobianStrategy, NetworkConfig, OptimizerSpec, Run, Strategy
from mtlbench.measure.cost import count_flops
from mtlbench.measure.memory import peak_memory
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Depth, Segmentation

METHODS = (
    *("equal", "fixed", "uncertainty", "dwa", "rlw", "gls", "log_loss", "dtp", "famo", "gradnorm"),
    *("mgda", "pcgrad", "graddrop", "gradvac", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad", "alternating"),
)
MEMORY_BOUND = 1.15
"""On the peak without the gradients that Jacobian strategies hold, over the bare loop's."""

TASKS = (Segmentation("segmentation", 7), Depth("depth"))


@dataclass
class Measured:
    """One way to make a step, and the measurements of it."""

    name: str
    step: Callable[[Batch], object]
    bound: Callable[[float], float]
    jacobian: bool
    solver: list[float] = field(default_factory=list)
    flops: int = 0
    memory: float = 0.0
    copies: float = 0.0
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


def workload(device: torch.device, small: bool) -> tuple[Architecture, Batch]:
    """The network and one batch of random images and labels."""
    size, backbone, count = ((32, 64), "resnet_tiny", 2) if small else ((128, 256), "resnet18", 8)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    config = NetworkConfig(TASKS, size, BackboneSpec(backbone, output_stride=8), HeadSpec(), mean, std, seed=0)
    network = HardSharing(config, {}).to(device).train()
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
        losses = [task.loss(predictions[name], batch.targets[name]) for name, task in network.tasks.items()]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        optimizer.step()

    return step


def measured_steps(network: Architecture, names: list[str], device: torch.device) -> list[Measured]:
    """The bare loop first, then the strategies whose packages are there."""
    steps, registry = [Measured("bare loop", bare(network), lambda flops: 1.0, jacobian=False)], Registry()
    optimizer = OptimizerSpec("adam", lr=1e-4, schedule="constant")
    for name in names:
        if registry.group("methods")[name].lacks_package:
            print(f"{name}: left out, it {registry.group('methods')[name].broken}")
            continue
        cls = registry.strategy(name).cls
        run = Run(0, Budget("equal_total", 1), optimizer, 8, 8, device)
        strategy = cls(network, run, cls.configure({}, name))
        strategy.start()
        steps.append(Measured(name, strategy.step, bound_of(name, cls), issubclass(cls, JacobianStrategy)))
        solve: Callable[..., Any] | None = getattr(strategy, "solve", None)
        if solve is not None:
            object.__setattr__(strategy, "solve", apart(solve, steps[-1].solver))
    return steps


def apart(solve: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
    """The same, with its wall time noted: a solver's time depends on its package, and is no part of a step's bound."""

    def run(*arguments: Any) -> Any:
        start = time.perf_counter()
        solution = solve(*arguments)
        into.append(time.perf_counter() - start)
        return solution

    return run


def timed(step: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    """Seconds of one step."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(steps: list[Measured], batch: Batch, rounds: int, clock: Callable[[], float]) -> list[float]:
    """Fill in FLOPs and ratios; returns the bare loop's seconds."""
    device, bare_seconds = batch.image.device, []
    for measured in steps:
        measured.flops = count_flops(partial(measured.step, batch))  # also the warm-up
    base, others = partial(steps[0].step, batch), steps[1:]
    for number in range(rounds):
        # Everyone starts a round in turn: what the caches and the neighbours do favours no place.
        start = number * len(others) // rounds
        before = timed(base, device, clock)
        for measured in others[start:] + others[:start]:
            measured.solver.clear()
            own, after = timed(partial(measured.step, batch), device, clock), timed(base, device, clock)
            own -= sum(measured.solver)
            measured.ratios.append(2 * own / (before + after))
            bare_seconds.append(after)
            before = after
    return bare_seconds


def peak(name: str, device: torch.device, small: bool, answer: Queue[tuple[int, int]]) -> None:
    """Peak bytes of a few steps of one method in this process, and those of T gradients of the shared weights."""
    torch.set_num_threads(1)
    network, batch = workload(device, small)
    measured = measured_steps(network, [name] if name else [], device)[-1]
    for _ in range(2):
        measured.step(batch)
    shared = sum(parameter.numel() * parameter.element_size() for parameter in network.shared_parameters())
    answer.put((peak_memory(device), shared * len(network.tasks)))


def idle(device: torch.device, answer: Queue[tuple[int, int]]) -> None:
    """Bytes of a process that has imported everything and does nothing."""
    torch.zeros(1, device=device)
    answer.put((0 if device.type == "cuda" else peak_memory(device), 0))


def fill_memory(steps: list[Measured], device: torch.device, small: bool) -> None:
    """Measure every method's peak, each in a process of its own."""
    # Freed memory goes back at once, so that a process is as large as what it holds and not as what it once held.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    context = multiprocessing.get_context("spawn")

    def asked(target: Callable[..., None], *arguments: object) -> tuple[int, int]:
        answer: Queue[tuple[int, int]] = context.Queue()
        process = context.Process(target=target, args=(*arguments, answer))
        process.start()
        peak_and_copies: tuple[int, int] = answer.get()
        process.join()
        return peak_and_copies

    floor = asked(idle, device)[0]
    base = max(1, asked(peak, "", device, small)[0] - floor)
    for measured in steps[1:]:
        total, copies = asked(peak, measured.name, device, small)
        measured.memory, measured.copies = (total - floor) / base, copies / base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory, too")
    parser.add_argument("--small", action="store_true", help="a tiny network and batch, to see that everything runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    network, batch = workload(device, options.small)
    steps = measured_steps(network, options.methods, device)
    if options.memory:
        fill_memory(steps, device, options.small)
    seconds = measure(steps, batch, options.rounds, time.perf_counter if options.clock == "wall" else time.process_time)

    base = steps[0]
    print(f"bare loop: {1e3 * median(seconds):.0f} ms ({options.clock} clock), {base.flops / 1e9:.1f} GFLOPs")
    head = f"{'step':14s} {'time':>6s} {'range':>13s} {'FLOPs':>6s} {'time/FLOPs':>10s} {'bound':>6s}"
    print(head + (f" {'memory':>7s} {'net':>6s}" if options.memory else ""))
    for measured in steps[1:]:
        ratio, flops = median(measured.ratios), measured.flops / base.flops
        bound = measured.bound(flops)
        spread = f"{min(measured.ratios):.2f} … {max(measured.ratios):.2f}"
        net = measured.memory - (measured.copies if measured.jacobian else 0.0)
        memory = f" {measured.memory:7.2f} {net:6.2f}" if options.memory else ""
        verdict = "" if ratio <= bound and net <= MEMORY_BOUND else "  over"
        times = f"{ratio:6.2f} {spread:>13s} {flops:6.2f} {ratio / flops:10.2f} {bound:6.2f}"
        print(f"{measured.name:14s} {times}{memory}{verdict}")


if __name__ == "__main__":
    main()
