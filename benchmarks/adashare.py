"""What AdaShare's steps cost: warm-up, weight and policy steps, retraining, and the deployed network.

Compared with the plain implementation, which runs the whole trunk once per task and multiplies by the gates, on the same
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
from typing import TypeVar

import torch
from torch import Tensor

from mtlbench.contract import (
    Architecture,
    Batch,
    Budget,
    Maps,
    NetworkConfig,
    OptimizerSpec,
    Rows,
    Run,
    SharingGraph,
    on_device,
)
from mtlbench.measure.cost import count_flops
from mtlbench.methods.adashare import AdaShare
from mtlbench.methods.adashare.phases import PolicyLearning
from mtlbench.methods.equal import Equal
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.networks.backbone import BackboneSpec
from mtlbench.networks.heads import HeadSpec
from mtlbench.networks.residual import ResidualBlock, ShortcutOnly
from mtlbench.tasks import Depth, Normals, Segmentation

TASKS = (Segmentation("segmentation", channels=8), Depth("depth", inverse=True, unit="1/m"), Normals("normals"))


A = TypeVar("A", bound=Architecture)


def graph_of(network: Architecture) -> SharingGraph:
    """The network's sharing graph."""
    assert network.graph is not None
    return network.graph


def block_of(network: AdaShare, depth: int) -> ResidualBlock:
    """A network's residual block, counted from 1."""
    block = graph_of(network).module(depth, 0)
    assert isinstance(block, ResidualBlock)
    return block


def plain_maps(network: AdaShare, image: Tensor, tasks: Sequence[str], rows: Rows) -> dict[str, Maps]:
    """As `AdaShare.maps`, the plain way: the whole trunk for every task, every block gated, skipped ones by zero."""
    policies, open_gates = network.policies, torch.tensor([1.0, 0.0], device=image.device)
    features: dict[str, Maps] = {}
    for task in tasks:
        decided = network.decision()[task]
        x: Tensor = graph_of(network).module(0, 0)(image)
        for depth in range(1, network.blocks + 1):
            gate = open_gates if decided[depth - 1] else open_gates.flip(0)
            if depth in policies.gated:
                gate = policies.gates[task][depth - policies.gated[0]]
            skipped, executed = block_of(network, depth).parts(x)
            x = gate[0] * executed + gate[1] * skipped
        features[task] = [x]
    return features


def measure(runs: Mapping[str, Callable[[], object]], device: torch.device, repeat: int) -> dict[str, float]:
    """Seconds per run, the least of `repeat`, the runs taking turns."""
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


def make(cls: type[A], config: NetworkConfig, run: Run) -> tuple[A, Equal]:
    """A network in training mode, and a started strategy."""
    network = on_device(cls(config, cls.configure({}, cls.__name__)), run.device)
    strategy = Equal(network, run, {})
    strategy.start()
    return network.train(), strategy


def trie_flops(network: AdaShare, image: Tensor, gated: int) -> int:
    """FLOPs of the trunk's distinct nodes, forward."""
    plan, first_gated = network.plan(), network.blocks - gated + 1
    stem = graph_of(network).module(0, 0)
    normalised = network.normalised(image)
    total = count_flops(partial(stem, normalised))
    x: Tensor = stem(normalised)
    for depth in range(1, network.blocks + 1):
        block = graph_of(network).module(depth, None)  # where no task executes it, what remains of it
        assert isinstance(block, ResidualBlock | ShortcutOnly)
        for path in plan.groups(depth):
            copies = len(TASKS) if depth > first_gated else 1
            total += copies * count_flops(partial(block.skip if path[depth] is None else block, x))
        x = block(x) if plan.variants(depth) else block.skip(x)
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
    assert isinstance(learning, PolicyLearning)
    learning.prepare()
    learning.passes(0)
    blocks = network.blocks

    print(f"{arguments.backbone}, {height}x{width}, batch {arguments.batch}, {len(TASKS)} tasks, {device}, one thread")
    print(f"{'':24}{'GFLOPs':>9}{'plain':>9}{'trie':>7}{'s':>9}{'plain':>9}{'time':>8}{'FLOPs':>8}{'time/FLOPs':>12}")
    line = partial(report, network=network, image=batch.image, device=device, repeat=arguments.repeat)
    step = partial(strategy.step, batch)
    line("warm-up step", step, plainly(network, step), 0)
    for gated in (1, blocks // 2, blocks):
        for kind, gated_step in (("weight", learning.weight_step), ("policy", learning.policy_step)):
            step = partial(gated_step, 1.0, gated, batch)
            line(f"{kind} step, n = {gated}", step, plainly(network, step), gated)
    learning.finish()
    shared, sharing_strategy = make(HardSharing, config, run)
    whole, plain_strategy = make(AdaShare, config, run)
    pair = {"ours": partial(plain_strategy.step, batch), "hard": partial(sharing_strategy.step, batch)}
    times = measure(pair, device, 2 * arguments.repeat)
    retraining.begin()
    retraining.prepare()
    # The plain implementation has the blocks that nobody executes, too.
    whole.policies.samples, whole.sample = network.policies.samples, network.sample
    line("retraining step", partial(strategy.step, batch), plainly(whole, partial(plain_strategy.step, batch)), 0)
    print(f"\nwarm-up step over hard-sharing step: {times['ours'] / times['hard']:.3f}")

    print("\nDeployed, one image: time and FLOPs over those of hard sharing")
    image = batch.image[:1]
    shared.eval()
    draw = torch.Generator().manual_seed(0)
    for keep in (1.0, 0.8, 0.6, 0.4, 0.2):
        network.policies.samples = [{task.name: (torch.rand(blocks, generator=draw) < keep).tolist() for task in TASKS}]
        network.restart(0)
        deployed = network.deploy().eval()
        with torch.no_grad():
            runs = {"ours": partial(deployed, image), "hard": partial(shared, image)}
            flops = {name: count_flops(run_once) for name, run_once in runs.items()}
            times = measure(runs, device, 4 * arguments.repeat)
        ratio, work = times["ours"] / times["hard"], flops["ours"] / flops["hard"]
        print(f"  {keep:.0%} of blocks kept: time {ratio:.2f}, FLOPs {work:.2f}, time/FLOPs {ratio / work:.2f}")


def plainly(network: AdaShare, step: Callable[[], object]) -> Callable[[], object]:
    """The same step with the plain implementation's trunk."""

    def run() -> None:
        vars(network)["maps"] = partial(plain_maps, network)
        step()
        del vars(network)["maps"]

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
    flops = {kind: count_flops(step) for kind, step in runs.items()}
    network.policies.set_gates({task.name: torch.full((gated, 2), 0.5, device=device) for task in TASKS})
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
    return Batch(image, {name: target.to(device) for name, target in targets.items()}, labelled, torch.arange(count))


if __name__ == "__main__":
    main()
