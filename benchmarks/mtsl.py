"""What MTSL costs: task learning as units merge, amalgamation, and its memory.

Each step is compared with a step of separate networks (one per task, trained side by side) on the same batch, in turns. The
method as a whole is compared with them over the same samples: every epoch at its own structure, similarity included.

    python benchmarks/mtsl.py --backbone resnet18 --size 128x256 --batch 8 [--tasks 3] [--epochs 40] [--device cpu]

It does so twice: where everything merges as soon as it may, and where nothing ever merges (the dearest case: separate
networks, alignment and similarity). Columns: FLOPs of a step and its time, over those of separate networks. Before that the
peak memory of a structural phase over that of separate networks: beyond what the process takes once everything is imported,
each in a process of its own. On a CPU time is that of the process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from typing import Any, TypeVar

import torch

from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Phase, Run, on_device
from mtlbench.measure.cost import count_flops
from mtlbench.measure.memory import peak_memory
from mtlbench.methods.equal import Equal
from mtlbench.methods.mtsl import MTSL
from mtlbench.methods.mtsl.phases import Structure
from mtlbench.methods.single_task import SingleTask
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Segmentation


def batch_of(arguments: argparse.Namespace, number: int = 0) -> Batch:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(number)
    height, width = (int(side) for side in arguments.size.split("x"))
    count, names = arguments.batch, [f"task{number}" for number in range(arguments.tasks)]
    targets = {
        name: torch.randint(0, 8, (count, height, width), generator=draw, dtype=torch.uint8).to(arguments.device)
        for name in names
    }
    image = torch.rand(count, 3, height, width, generator=draw).to(arguments.device)
    return Batch(image, targets, {name: torch.ones(count, dtype=torch.bool) for name in names}, torch.arange(count))


A = TypeVar("A", bound=Architecture)


def make(cls: type[A], arguments: argparse.Namespace, **hypers: Any) -> tuple[A, Equal]:
    """A network in training mode, and a strategy."""
    height, width = (int(side) for side in arguments.size.split("x"))
    device = torch.device(arguments.device)

    def images(count: int, size: int) -> Iterator[Batch]:
        return (batch_of(arguments, number) for number in range(max(1, min(count, arguments.images) // size)))

    run = Run(0, Budget("equal_total", arguments.epochs), OptimizerSpec(), arguments.batch, arguments.images, device)
    run.training_images = images
    config = NetworkConfig(
        tasks=tuple(Segmentation(f"task{number}", channels=8) for number in range(arguments.tasks)),
        image_size=(height, width),
        backbone=BackboneSpec(arguments.backbone),
        head=HeadSpec(),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=0,
    )
    network = on_device(cls(config, cls.configure(hypers, cls.__name__)), device)
    strategy = Equal(network, run, {})
    strategy.start()
    return network.train(), strategy


def seconds(run: Callable[[], object], device: str, repeat: int = 0) -> float:
    """The least of `repeat`, after one that is not timed; with 0 that of a single run."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    least = float("inf")
    for number in range(repeat + 1) if repeat else (1,):
        start = clock()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        if number:
            least = min(least, clock() - start)
    return least


def ready(network: MTSL, strategy: Equal) -> list[Phase]:
    """The phases, with the first begun."""
    phases: list[Phase] = network.phases(strategy.run, strategy)
    phases[0].begin()
    phases[0].prepare()
    return phases


def whole(arguments: argparse.Namespace, threshold: float) -> None:
    """The steps as the structure changes, and their sum over the training.

    Args:
        threshold: of merging: −1 merges everything, 1.01 nothing.
    """
    device, repeat = arguments.device, arguments.repeat
    batch = batch_of(arguments)
    separate = make(SingleTask, arguments)[1]
    network, strategy = make(MTSL, arguments, threshold=threshold)
    base, floor = count_flops(lambda: separate.step(batch)), seconds(lambda: separate.step(batch), device, repeat)
    print(f"threshold {threshold:g}; separate networks: {base / 1e9:.1f} GFLOPs, {1e3 * floor:.0f} ms per step")
    steps = max(1, arguments.images // arguments.batch)
    spent = 0.0
    plan = ready(network, strategy)

    def report(name: str, step: Callable[[Batch], object], epochs: float) -> None:
        nonlocal spent
        took, flops = seconds(lambda: step(batch), device, repeat), count_flops(lambda: step(batch))
        spent += took * epochs * steps
        print(f"{name:28} {flops / base:5.2f} × FLOPs  {took / floor:5.2f} × time  over {epochs:g} epochs")

    report("separate, aligning", strategy.step, plan[0].epochs)
    for phase in plan[1:-1]:
        assert isinstance(phase, Structure)
        network.tree.carried = None
        similarity = seconds(phase.begin, device)
        phase.prepare()
        spent += similarity
        print(f"{'  ' + phase.name + ': similarity':28} {similarity / floor / steps:5.2f} × the time of an epoch")
        if network.tree.pending:
            report("  amalgamation", phase.amalgamate, phase.spent)
        report("  task learning", phase.learn, phase.epochs - phase.spent)
        spent += seconds(phase.finish, device)
    plan[-1].prepare()
    report("final", strategy.step, plan[-1].epochs)
    total = sum(phase.epochs for phase in plan)
    print(f"whole method: {spent / (floor * total * steps):.2f} × the time of separate networks (bound: 1.25)")


def peak(arguments: argparse.Namespace, method: str, answer: Queue[int]) -> None:
    """Put the peak memory in bytes of a few steps: of "separate" networks, or of a "structure" phase."""
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    batch = batch_of(arguments)
    before = 0 if device.type == "cuda" else peak_memory(device)
    if method == "separate":
        _, separate = make(SingleTask, arguments)
        for _ in range(3):
            separate.step(batch)
    else:
        network, strategy = make(MTSL, arguments, threshold=-1.0)
        structure = ready(network, strategy)[1]
        assert isinstance(structure, Structure)
        strategy.step(batch)
        structure.begin()
        structure.prepare()
        for step in (structure.amalgamate, structure.amalgamate, structure.learn, structure.learn):
            step(batch)
    answer.put(peak_memory(device) - before)


def memory(arguments: argparse.Namespace) -> None:
    """Peaks, each in a process of its own."""
    bytes_of = {}
    # Freed memory goes back at once, so that a process is as large as what it holds and not as what it once held.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    context = multiprocessing.get_context("spawn")
    for method in ("separate", "structure"):
        answer: Queue[int] = context.Queue()
        process = context.Process(target=peak, args=(arguments, method, answer))
        process.start()
        bytes_of[method] = answer.get()
        process.join()
    ratio, separate = bytes_of["structure"] / bytes_of["separate"], bytes_of["separate"] / 2**20
    print(f"peak memory: separate {separate:.0f} MiB, structural phase {ratio:.2f} × that (bound: 1.3)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", default="128x256")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--images", type=int, default=800, help="training images, of which similarity takes 800 at most")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    memory(arguments)
    for threshold in (-1.0, 1.01):
        whole(arguments, threshold)


if __name__ == "__main__":
    main()
