"""Select-or-skip networks: outputs and gradients of the official implementation, and what must hold anyway.

Golden numbers: tests/golden/adashare_network.npz holds net B; net A, which has dilated stages, is among the sample data.
Stages, blocks and images are those of the arrays; widths, strides and dilations of the stages are published.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor, nn

from mtlbench.contract import Maps, SharingGraph, SharingPlan, Unit
from mtlbench.measure.cost import count_flops
from mtlbench.methods._shared.select_or_skip import plan_of
from mtlbench.methods.adashare import AdaShare
from mtlbench.methods.adashare.decisions import as_gates
from mtlbench.methods.adashare.multiplying_graph import MultiplyingGraph
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.networks.backbone import LAYOUTS, Backbone, BackboneSpec, stem
from mtlbench.networks.residual import BasicBlock, ResidualBlock
from tests.methods.adashare_network import BLOCKS, decisions_of, graph_of, network, some_policy
from tests.tiny_methods import GOLDEN, TASKS, batches, parameters_of

WIDTH, STRIDES, DILATIONS = 64, (1, 2, 1, 1), (1, 1, 2, 4)


class Official:
    """A network of the golden file, built of our blocks in float64, with AdaShare's convention for dilated stages."""

    def __init__(self, file: NpzFile, name: str) -> None:
        self.file, self.name = file, name
        units = [Unit("stem", partial(stem, LAYOUTS["resnet18"], True), output=True)]
        self.official_names = [""]
        channels = WIDTH
        for stage, count in enumerate(file[f"{name}/layers"].tolist()):
            for number in range(count):
                width, stride = WIDTH * 2**stage, STRIDES[stage] if number == 0 else 1
                make: Callable[[], nn.Module] = partial(
                    BasicBlock, channels, width, stride, DILATIONS[stage], DILATIONS[stage]
                )
                units.append(Unit(f"{stage}.{number}", make, output=True))
                self.official_names.append(f"blocks.{stage}.{number}.")
                channels = width
        self.blocks = len(units) - 1
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], ["t"])).double()
        self.graph.load_state_dict({ours: self.stored(theirs) for ours, theirs in self.names().items()}, strict=False)
        self.graph.eval()

    def names(self) -> dict[str, str]:
        """Our parameter and buffer names → the official ones."""
        names = {}
        for name, _ in [*self.graph.named_parameters(), *self.graph.named_buffers()]:
            if name.endswith("num_batches_tracked"):
                continue
            _, key, rest = name.split(".", 2)
            depth = int(key.split("_")[0])
            if depth == 0:
                names[name] = rest.replace("0.", "conv1.", 1) if rest.startswith("0.") else rest.replace("1.", "bn1.", 1)
            elif rest.startswith("downsample."):
                names[name] = f"ds.{self.official_names[depth].split('.')[1]}.{rest.removeprefix('downsample.')}"
            else:
                names[name] = self.official_names[depth] + rest
        return names

    def stored(self, name: str) -> Tensor:
        if f"{self.name}/w/{name}" in self.file:
            return self.get(f"w/{name}") * self.get(f"scale/{name}")
        return self.get(f"bn/{name}")

    def get(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.file[f"{self.name}/{name}"], dtype=np.float64))

    def policies(self) -> list[str]:
        """Names of the stored policies per task and block (others are per image, or of one dimension)."""
        prefix = f"{self.name}/policy/"
        names = [key.removeprefix(prefix) for key in self.file.files if key.startswith(prefix)]
        return [name for name in names if name not in ("per_sample", "one_dim")]

    def run(self, policy: Tensor | None = None) -> Tensor:
        """The last feature map."""
        return self.maps(None if policy is None else {"t": policy}, range(1, self.blocks + 1))[-1]

    def maps(self, gates: dict[str, Tensor] | None, gated: range) -> Maps:
        """The maps of the stem and of all blocks."""
        maps: dict[str, Maps] = self.graph(self.get("x"), gates=gates, gated=gated)
        return maps["t"]

    def gradient_of(self, official: str) -> Tensor:
        name = next(ours for ours, theirs in self.names().items() if theirs == official)
        gradient = self.graph.get_parameter(name).grad
        assert gradient is not None
        return gradient

    def close(self, value: Tensor | None, name: str, tolerance: float = 1e-6) -> None:
        """Within the tolerance, relative to the stored array's maximum."""
        expected = self.get(name)
        assert value is not None
        torch.testing.assert_close(value.detach(), expected, atol=tolerance * float(expected.abs().max()), rtol=tolerance)


@pytest.fixture(params=["A", "B"])
def official(request: pytest.FixtureRequest) -> Official:
    if request.param == "B":
        return Official(np.load(GOLDEN / "adashare_network.npz"), "B")
    shared: Path = request.getfixturevalue("shared")
    return Official(np.load(shared / "golden" / "adashare_network.npz"), "A")


def test_features_for_every_policy(official: Official) -> None:
    assert {"task0_soft", "task1_soft", "all_keep", "all_skip", "hard", "curriculum_soft"} <= set(official.policies())
    for name in (*official.policies(), "per_sample"):
        official.close(official.run(official.get(f"policy/{name}")), f"eval/{name}/out")
    plain = official.run()
    official.close(plain, "eval/no_policy/out")
    assert torch.equal(plain, official.run(official.get("policy/all_keep")))
    official.close(official.maps(None, range(0))[0], "eval/stem/out")


def test_gradients_for_the_policy_and_the_weights(official: Official) -> None:
    for name in official.policies():
        official.graph.zero_grad()
        policy = official.get(f"policy/{name}").requires_grad_()
        loss = official.run(policy).square().mean()
        loss.backward()
        official.close(loss, f"eval/{name}/loss")
        official.close(policy.grad, f"eval/{name}/dloss_dpolicy", 1e-8)
        if name in ("task0_soft", "hard"):
            last = official.official_names[-1]
            for kind, weight in (
                ("dloss_dconv1", "conv1.weight"),
                ("dloss_dds1_conv", "ds.1.0.weight"),
                ("dloss_dlast_bn2_weight", f"{last}bn2.weight"),
                ("dloss_dfirst_bn1_bias", "blocks.0.0.bn1.bias"),
            ):
                official.close(official.gradient_of(weight), f"eval/{name}/{kind}")


def test_training_step(official: Official) -> None:
    official.graph.train()
    policy = official.get("policy/task0_soft").requires_grad_()
    out = official.run(policy)
    loss = out.square().mean()
    loss.backward()
    official.close(out, "train/task0_soft/out")
    official.close(loss, "train/task0_soft/loss")
    official.close(policy.grad, "train/task0_soft/dloss_dpolicy", 1e-8)
    official.close(official.gradient_of("conv1.weight"), "train/task0_soft/dloss_dconv1")
    official.close(official.gradient_of("ds.1.0.weight"), "train/task0_soft/dloss_dds1_conv")
    buffers = dict(official.graph.named_buffers())
    for ours, theirs in official.names().items():
        if "running" in ours:
            official.close(buffers[ours], f"train/task0_soft/after/{theirs}")


def test_gating_only_the_last_blocks_is_keeping_the_others(official: Official) -> None:
    policy, half = official.get("policy/curriculum_soft"), official.blocks // 2
    assert torch.equal(policy[:half], torch.tensor([1.0, 0.0], dtype=torch.float64).expand(half, 2))
    out = official.maps({"t": policy[half:]}, range(half + 1, official.blocks + 1))[-1]
    official.close(out, "eval/curriculum_soft/out")


# -- what must hold -----------------------------------------------------------------------------------------------------


IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
DRAW = torch.Generator().manual_seed(1)
DECISIONS = decisions_of(lambda: (torch.rand(BLOCKS, generator=DRAW) < 0.5).tolist())


@pytest.fixture
def net() -> AdaShare:
    built = network()
    built(IMAGE)  # running statistics that are not the initial ones
    return built.eval()


def block_of(net: AdaShare, depth: int) -> ResidualBlock:
    """A network's block, counted from 1."""
    block = graph_of(net).module(depth, 0)
    assert isinstance(block, ResidualBlock)
    return block


def test_selecting_everything_is_hard_sharing(net: AdaShare) -> None:
    plain, own = network(HardSharing).eval(), net.state_dict()
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    expected = plain(IMAGE)
    assert all(torch.equal(prediction, expected[task]) for task, prediction in net(IMAGE).items())
    net.policies.set_gates(as_gates(decisions_of(lambda: [True] * BLOCKS)))
    assert all(torch.equal(prediction, expected[task]) for task, prediction in net(IMAGE).items())


def test_skipping_everything_leaves_stem_and_projections(net: AdaShare) -> None:
    net.policies.set_gates(as_gates(decisions_of(lambda: [False] * BLOCKS)))
    x: Tensor = graph_of(net).module(0, 0)(net.normalised(IMAGE))
    for depth in range(1, BLOCKS + 1):
        x = block_of(net, depth).skip(x)
    features = net.maps(net.normalised(IMAGE), list(net.tasks), None)
    for maps in features.values():
        assert torch.equal(maps[-1], x)
    assert bool((x < 0).any()), "a skipped projection has no ReLU"


def test_gates_mix_affinely(net: AdaShare) -> None:
    block = block_of(net, 3)
    x = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(2))
    units = (Unit("stem", nn.Identity), Unit("block", lambda: block, output=True))
    graph = SharingGraph(units, SharingPlan.shared(["stem", "block"], ["t"])).eval()

    def out(select: float) -> Tensor:
        maps: dict[str, Maps] = graph(x, gates={"t": torch.tensor([[select, 1 - select]])}, gated=(1,))
        return maps["t"][0]

    torch.testing.assert_close(out(0.3), 0.3 * out(1.0) + 0.7 * out(0.0))
    assert torch.equal(out(1.0), block(x)) and torch.equal(out(0.0), block.skip(x))


def test_really_skipping_is_multiplying_by_zero(net: AdaShare) -> None:
    graph, x = graph_of(net), net.normalised(IMAGE)
    net.policies.set_gates(as_gates(DECISIONS))
    multiplied = net.maps(x, list(net.tasks), None)
    units = [Unit(unit.name, partial(graph.module, depth, 0), unit.output) for depth, unit in enumerate(net.units)]
    skipped = SharingGraph(units, plan_of(net.depths, DECISIONS), path_statistics=False).eval()(x)
    for task, maps in multiplied.items():
        for expected, level in zip(maps, skipped[task], strict=True):
            torch.testing.assert_close(level, expected, atol=1e-6, rtol=1e-5)


def test_the_multiplying_graph_mixes_all_statistics_and_ships_the_skipping_one(net: AdaShare) -> None:
    nobody = {task: [*blocks[:2], False, *blocks[3:]] for task, blocks in DECISIONS.items()}
    graph = MultiplyingGraph(net.units, nobody).train()
    graph(net.normalised(IMAGE))
    passes = {depth: int(graph.module(depth, 0).get_buffer("bn1.num_batches_tracked")) for depth in range(1, BLOCKS + 1)}
    # The stem and the first block's input are common; from then on every task executes every block, skipped or not.
    assert passes == {1: 1, **dict.fromkeys(range(2, BLOCKS + 1), len(TASKS))}
    shipped = graph.eval().skipping()
    unused = {id(weight) for name, weight in graph.module(3, 0).named_parameters() if "downsample" not in name}
    assert unused and unused.isdisjoint({id(weight) for weight in shipped.parameters()})
    ours, theirs = shipped(IMAGE), graph(IMAGE)
    for task in ours:
        torch.testing.assert_close(ours[task][-1], theirs[task][-1], atol=1e-6, rtol=1e-5)


def test_no_task_moves_another_tasks_policy(net: AdaShare) -> None:
    some_policy(net)
    logits = net.policies.by_task()
    gates = {task: own.detach().softmax(-1).requires_grad_() for task, own in logits.items()}
    net.policies.set_gates(gates)
    losses = net.losses(batches(1)[0])
    for task in losses:
        gradients = torch.autograd.grad(losses[task], list(gates.values()), retain_graph=True, allow_unused=True)
        reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
        assert reached == [name == task for name in gates]


@pytest.mark.parametrize(
    ("backbone", "parameters", "size", "gmacs"),
    [("resnet18", 11_176_512, (224, 224), 9.857), ("resnet34", 21_284_672, (256, 512), 47.29)],
)
def test_sizes_of_the_published_backbones(backbone: str, parameters: int, size: tuple[int, int], gmacs: float) -> None:
    with torch.device("meta"):
        net = Backbone(BackboneSpec(backbone, 8, "stage", ceil_pool=True, init="normal_0.01"))
        assert parameters_of(net) == parameters
        assert count_flops(lambda: net(torch.empty(1, 3, *size))) / 2e9 == pytest.approx(gmacs, rel=1e-3)


def test_a_policys_flops_are_those_of_its_distinct_nodes(net: AdaShare) -> None:
    plan = plan_of(net.depths, DECISIONS)
    graph, first = SharingGraph(net.units, plan).eval(), graph_of(net).module(0, 0)
    expected = count_flops(lambda: first(IMAGE))
    x: Tensor = first(IMAGE)
    for depth in range(1, BLOCKS + 1):
        block = block_of(net, depth)
        whole, shortcut = count_flops(partial(block, x)), count_flops(partial(block.skip, x))
        expected += sum(shortcut if path[depth] is None else whole for path in plan.groups(depth))
        x = block(x)
    assert count_flops(lambda: graph(IMAGE)) == expected
