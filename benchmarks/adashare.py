"""What AdaShare's steps cost: warm-up, weight and policy steps, retraining, and the deployed network.

Compared with the plain implementation, which runs the whole trunk once a task and multiplies by the gates, on the same
weights and batch, in turns. A step pays off if its time falls as much as its FLOPs do:

    python benchmarks/adashare.py --backbone resnet18 --size 128x256 --batch 8

Columns: FLOPs of a step here and in the plain implementation; "trie": FLOPs of the forward trunk over those of the distinct
nodes (1 when nothing is computed twice); ratio of times, ratio of FLOPs, and the first over the second.
On a CPU time is that of the process, so that other programs disturb it little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mtlbench.contract import Architecture, Batch, Budget, NetworkConfig, OptimizerSpec, Run
from mtlbench.measure.cost import count_flops
from mtlbench.methods.adashare import AdaShare
from mtlbench.methods.equal import Equal
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.tasks import Depth, Normals, Segmentation

TASKS = (Segmentation("segmentation", channels=8), Depth("depth", inverse=True, unit="1/m"), Normals("normals"))


def plain_maps(network: AdaShare, image: Tensor, tasks: Sequence[str], rows: Mapping[str, Tensor] | None) -> Any:
    """As `AdaShare.maps`, the plain way: the whole trunk for every task, every block gated, skipped ones by zero."""
    module = network.graph.module  # type: ignore[union-attr]
    open_gates = torch.tensor([1.0, 0.0], device=image.device)
    features = {}
    for task in tasks:
        x, decided = module(0, 0)(image), network.decision()[task]
        for depth in range(1, network.blocks + 1):
            gate = open_gates if decided[depth - 1] else open_gates.flip(0)
            if depth in network.gated:
                gate = network.gate[task][depth - network.gated[0]]
            skipped, executed = module(depth, 0).parts(x)
            x = gate[0] * executed + gate[1] * skipped
        features[task] = [x]
    return features


def measure(runs: Mapping[str, Callable[[], object]], device: torch.device, repeat: int) -> dict[str, float]:
    """Seconds a run, the least of `repeat`, the runs taking turns."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    least = dict.fromkeys(runs, float("inf"))
    for number in range(repeat + 1):
        for name, run in runs.items():
            if device.type != "cpu":
                torch.cuda.synchronize()
            start = clock()
            run()
            if device.type != "cpu":
                torch.cuda.synchronize()
            if number:
                least[name] = min(least[name], clock() - start)
    return least


def make(cls: type[Architecture], config: NetworkConfig, run: Run) -> tuple[Any, Equal]:
    """A network in training mode, and a started strategy."""
    network = cls(config, cls.configure({}, cls.__name__)).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    strategy = Equal(network, run, {})
    strategy.start()
    return network.train(), strategy


def trie_flops(network: AdaShare, image: Tensor, gated: int) -> int:
    """FLOPs of the trunk's distinct nodes, forward."""
    module, plan = network.graph.module, network.plan()  # type: ignore[union-attr]
    x, total, first_gated = network.normalised(image), 0, network.blocks - gated + 1
    for depth in range(network.blocks + 1):
        for path in plan.groups(depth):
            block = module(depth, path[depth])
            run = block if path[depth] is not None else block.skip
            copies = len(TASKS) if depth > first_gated else 1
            total += copies * count_flops(partial(run, x))
        x = module(depth, 0)(x) if plan.variants(depth) else module(depth, None).skip(x)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", default="128x256", help="height x width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--head-width", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    height, width = (int(side) for side in arguments.size.split("x"))
    config = NetworkConfig(
        tasks=TASKS,
        image_size=(height, width),
        backbone=BackboneSpec(arguments.backbone),
        head=HeadSpec(rates=(2, 4, 6), width=arguments.head_width),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=0,
    )
    run = Run(0, Budget("equal_total", 10), OptimizerSpec(), arguments.batch, 8 * arguments.batch, device)
    batch = random_batch(arguments.batch, height, width, device)
    network, strategy = make(AdaShare, config, run)
    _, learning, retraining = network.phases(run, strategy)
    learning.prepare()
    learning.passes(0)
    blocks = network.blocks

    print(f"{arguments.backbone}, {height}x{width}, batch {arguments.batch}, {len(TASKS)} tasks, {device}, one thread")
    print(f"{'':24}{'GFLOPs':>9}{'plain':>9}{'trie':>7}{'s':>9}{'plain':>9}{'time':>8}{'FLOPs':>8}{'time/FLOPs':>12}")
    line = partial(report, network=network, image=batch.image, device=device, repeat=arguments.repeat)
    step = partial(strategy.step, batch)
    line("warm-up step", step, plainly(network, step), 0)
    for gated in (1, blocks // 2, blocks):
        for kind, one in (("weight", learning.weight_step), ("policy", learning.policy_step)):
            step = partial(one, 1.0, gated, batch)
            line(f"{kind} step, n = {gated}", step, plainly(network, step), gated)
    learning.finish()
    shared, sharing_strategy = make(HardSharing, config, run)
    whole, plain_strategy = make(AdaShare, config, run)
    pair = {"ours": partial(plain_strategy.step, batch), "hard": partial(sharing_strategy.step, batch)}
    times = measure(pair, device, 2 * arguments.repeat)
    retraining.begin()
    retraining.prepare()
    # The plain implementation has the blocks that nobody executes, too.
    whole.decision = network.decision
    line("retraining step", partial(strategy.step, batch), plainly(whole, partial(plain_strategy.step, batch)), 0)
    print(f"\nwarm-up step over hard-sharing step: {times['ours'] / times['hard']:.3f}")

    print("\nDeployed, one image: time and FLOPs over those of hard sharing")
    image = batch.image[:1]
    shared.eval()
    draw = torch.Generator().manual_seed(0)
    for keep in (1.0, 0.8, 0.6, 0.4, 0.2):
        network.decisions = [{task.name: (torch.rand(blocks, generator=draw) < keep).tolist() for task in TASKS}]
        network.take(0)
        deployed = network.deploy().eval()
        with torch.no_grad():
            runs = {"ours": partial(deployed, image), "hard": partial(shared, image)}
            flops = {name: count_flops(one) for name, one in runs.items()}
            times = measure(runs, device, 4 * arguments.repeat)
        ratio, work = times["ours"] / times["hard"], flops["ours"] / flops["hard"]
        print(f"  {keep:.0%} of blocks kept: time {ratio:.2f}, FLOPs {work:.2f}, time/FLOPs {ratio / work:.2f}")


def plainly(network: AdaShare, step: Callable[[], object]) -> Callable[[], object]:
    """The same step with the plain implementation's trunk."""

    def run() -> None:
        network.maps = partial(plain_maps, network)  # type: ignore[method-assign]
        step()
        del network.maps

    return run


def report(
    name: str,
    ours: Callable[[], object],
    plain: Callable[[], object],
    gated: int,
    network: AdaShare,
    image: Tensor,
    device: torch.device,
    repeat: int,
) -> None:
    """One line of the table."""
    runs = {"ours": ours, "plain": plain}
    flops = {kind: count_flops(one) for kind, one in runs.items()}
    network.set_gates({task.name: torch.full((gated, 2), 0.5, device=device) for task in TASKS}, gated)
    with torch.no_grad():
        trunk = count_flops(lambda: network.maps(network.normalised(image), list(network.tasks), None))
        trie = trunk / trie_flops(network, image, gated)
    times = measure(runs, device, repeat)
    ratio, work = times["ours"] / times["plain"], flops["ours"] / flops["plain"]
    print(
        f"{name:24}{flops['ours'] / 1e9:9.1f}{flops['plain'] / 1e9:9.1f}{trie:7.3f}{times['ours']:9.3f}{times['plain']:9.3f}"
        f"{ratio:8.2f}{work:8.2f}{ratio / work:12.2f}",
        flush=True,
    )


def random_batch(count: int, height: int, width: int, device: torch.device) -> Batch:
    """Random images and targets of `TASKS`."""
    normals = torch.nn.functional.normalize(torch.randn(count, 3, height, width), dim=1)
    targets = {
        "segmentation": torch.randint(0, 8, (count, height, width), dtype=torch.uint8),
        "depth": torch.rand(count, 1, height, width) + 0.1,
        "normals": normals,
    }
    labelled = {name: torch.full((count,), True) for name in targets}
    image = torch.rand(count, 3, height, width).to(device, memory_format=torch.channels_last)
    return Batch(image, {name: one.to(device) for name, one in targets.items()}, labelled, torch.arange(count))


if __name__ == "__main__":
    main()
