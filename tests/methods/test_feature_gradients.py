"""`gradients="features"`: rows for the features that all heads read, one backward pass through the trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.config.plugins import Registry
from mtlbench.contract import Architecture, Batch, JacobianStrategy, SharingGraph, SharingPlan, TaskLosses, UserError
from mtlbench.methods.graddrop import GradDrop
from mtlbench.methods.imtl import IMTL
from mtlbench.methods.mgda import MGDA, min_norm
from tests.tiny_methods import (
    MIXED_TASKS,
    TASKS,
    batches,
    build,
    graph_of,
    make,
    make_run,
    network,
    network_config,
    skip_without_packages,
    snapshot,
    started,
    train,
)

ON_FEATURES = [name for name, cls in Registry().strategies().items() if getattr(cls, "feature_gradients", False)]
ON_PARAMETERS_ALONE = [
    name for name, cls in Registry().strategies().items() if issubclass(cls, JacobianStrategy) and not cls.feature_gradients
]


class Weighted(JacobianStrategy):
    """Weights that do not depend on the gradients: a fixed weighted sum of the losses."""

    feature_gradients: ClassVar[bool] = True

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        return torch.arange(1.0, len(losses) + 1, dtype=torch.float64)


class AllScales(Architecture):
    """One encoder whose heads read two of its maps."""

    def build(self) -> None:
        units = self.stage_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))
        self.heads = nn.ModuleDict({task: TwoScales(self.stage_channels) for task in self.tasks})


class TwoScales(nn.Module):
    """Reads the second and the last map."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(channels[1] + channels[-1], 4)

    def forward(self, maps: list[Tensor]) -> Tensor:
        logits: Tensor = self.linear(torch.cat([maps[1].mean((2, 3)), maps[-1].mean((2, 3))], 1))
        return logits


class LateSplit(Architecture):
    """The last stage is not shared."""

    def build(self) -> None:
        units = self.stage_units()
        table = [(0, 0, 0)] * (len(units) - 1) + [(0, 0, 1)]
        self.graph = SharingGraph(units, SharingPlan(tuple(unit.name for unit in units), tuple(self.tasks), tuple(table)))


class SharedDecoder(Architecture):
    """One encoder, and heads that share a layer."""

    def build(self) -> None:
        units = self.stage_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))
        self.layer = nn.Linear(1, 1)


def gradients_of(net: Architecture) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in net.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("make_network", [network, lambda: build(AllScales)], ids=["one scale", "two scales"])
def test_fixed_weights_give_the_same_gradient_on_features_as_on_parameters(make_network: Callable[[], Architecture]) -> None:
    """The chain rule, through BatchNorm and several scales of maps."""
    results = []
    for gradients in ("parameters", "features"):
        net = make_network()
        losses = started(Weighted, net, make_run(), gradients=gradients).step(batches(1)[0])
        results.append((losses, gradients_of(net)))
    (losses, on_parameters), (same_losses, on_features) = results
    assert list(losses) == list(same_losses)
    assert on_parameters.keys() == on_features.keys()
    for name, gradient in on_parameters.items():
        torch.testing.assert_close(on_features[name], gradient, rtol=1e-4, atol=1e-6)


def test_weights_come_from_the_features_of_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """MGDA-UB: the minimum norm of feature gradients, not of the parameters', and not summed over images."""
    net = network()
    strategy = started(MGDA, net, make_run(), gradients="features")
    seen: list[Tensor] = []
    weights = strategy.weights

    def watched(gramian: Tensor, losses: TaskLosses) -> Tensor:
        seen.append(gramian)
        result: Tensor = weights(gramian, losses)
        return result

    monkeypatch.setattr(strategy, "weights", watched)
    batch = batches(1)[0]
    strategy.step(batch)

    other = network()
    last: list[Tensor] = []
    graph_of(other).register_forward_hook(lambda module, inputs, maps: last.append(next(iter(maps.values()))[-1]))
    losses = other.losses(batch)
    rows = torch.stack(
        [torch.autograd.grad(losses[task], last[0], retain_graph=True)[0].flatten() for task in sorted(losses)]
    )
    expected = (rows @ rows.T).double()
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-9)
    alpha = dict(zip(sorted(losses), min_norm(expected).float(), strict=True))
    torch.stack([alpha[task] * loss for task, loss in losses.items()]).sum().backward()
    for name, weight in other.named_parameters():
        if name.startswith("graph."):
            torch.testing.assert_close(dict(net.named_parameters())[name].grad, weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ON_FEATURES)
def test_trains_on_features(name: str) -> None:
    """All weights move; what an absent task owns stays; a resumed strategy ends the same; a new trajectory."""
    skip_without_packages(name)
    ends = []
    for gradients in ("features", "features", "parameters"):
        net = network()
        strategy = make(name, net, make_run(), gradients=gradients)
        before = snapshot(net)
        train(strategy, batches(2, {1: ["shape"]}), epochs=1)
        assert not [key for key, weight in snapshot(net).items() if torch.equal(weight, before[key])]
        before, own = snapshot(net), net.own_parameters("shape")
        strategy.step(batches(1, {0: ["shape"]})[0])
        assert all(torch.equal(dict(net.named_parameters())[key], before[key]) for key in before if "heads.shape" in key)
        assert own
        ends.append(snapshot(net))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert any(not torch.allclose(ends[0][key], ends[2][key], atol=1e-6) for key in ends[0])
    assert strategy.step(batches(1, {0: [task.name for task in TASKS]})[0]) == {}


def watch(passes: list[Tensor], module: nn.Module, inputs: object, output: Tensor) -> None:
    """Note every gradient that reaches a module's output."""
    output.register_hook(passes.append)


def test_one_backward_pass_through_the_trunk() -> None:
    """Counted at the output of the first convolution: once for features, once per task for parameters."""
    counts = {}
    for gradients in ("features", "parameters"):
        net = network()
        strategy = started(MGDA, net, make_run(), gradients=gradients)
        passes: list[Tensor] = []
        stem = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
        stem.register_forward_hook(partial(watch, passes))
        strategy.step(batches(1)[0])
        counts[gradients] = len(passes)
    assert counts == {"features": 1, "parameters": len(TASKS)}


def test_flops_are_counted_and_fewer() -> None:
    counts = {}
    for gradients in ("features", "parameters"):
        strategy = started(MGDA, network(), make_run(), gradients=gradients)
        with FlopCounterMode(display=False) as counter:
            strategy.step(batches(1)[0])
        counts[gradients] = counter.get_total_flops()
    assert counts["features"] < 0.6 * counts["parameters"]


def test_leaves_no_hook_and_no_trace_in_the_forward_pass() -> None:
    net, plain = network(), network()
    strategy = started(MGDA, net, make_run(lr=0.0), gradients="features")
    batch = batches(1)[0]
    losses, expected = strategy.step(batch), plain.losses(batch)
    assert not graph_of(net)._forward_hooks
    for task, loss in losses.items():
        torch.testing.assert_close(loss.detach(), expected[task].detach())
    for (name, ours), (_, theirs) in zip(net.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_imtl_trains_its_scales_on_features_too() -> None:
    strategy = started(IMTL, network(), make_run(), gradients="features")
    strategy.step(batches(1)[0])
    assert all(float(scale.detach()) != 0 for scale in strategy.log_scale)


def test_a_combination_of_whole_rows_is_back_propagated(monkeypatch: pytest.MonkeyPatch) -> None:
    """GradDrop with nothing dropped is the sum."""
    net, plain = network(), network()
    strategy = started(GradDrop, net, make_run(), gradients="features")
    monkeypatch.setattr(strategy, "combine", lambda rows, losses: rows.sum(0))
    strategy.step(batches(1)[0])
    make("equal", plain, make_run()).step(batches(1)[0])
    for name, gradient in gradients_of(plain).items():
        torch.testing.assert_close(gradients_of(net)[name], gradient, rtol=1e-4, atol=1e-6)


def test_dense_tasks_and_a_single_one() -> None:
    net = build(SharedTrunk, network_config(MIXED_TASKS))
    before = snapshot(net)
    started(MGDA, net, make_run(), gradients="features").step(batches(1, tasks=MIXED_TASKS)[0])
    assert not [key for key, weight in snapshot(net).items() if torch.equal(weight, before[key])]
    ours, plain = network(tasks=TASKS[:1]), network(tasks=TASKS[:1])
    started(MGDA, ours, make_run(), gradients="features").step(batches(1)[0])
    make("equal", plain, make_run()).step(batches(1)[0])
    assert all(torch.allclose(weight, snapshot(plain)[key], atol=1e-7) for key, weight in snapshot(ours).items())


class SharedTrunk(Architecture):
    """One encoder."""

    def build(self) -> None:
        units = self.stage_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_PARAMETERS_ALONE)
def test_strategies_of_parameter_gradients_refuse_features(name: str) -> None:
    cls = Registry().strategy(name).cls
    with pytest.raises(UserError, match=f'{name}: gradients = "features" is refused'):
        cls.configure({"gradients": "features"}, name)
    assert "gradients" not in cls.hypers


@pytest.mark.parametrize(
    ("make_network", "why"),
    [
        (lambda: network("cross_stitch"), "its trunk is not one sharing graph"),
        (lambda: network("mtan"), "its trunk is not one sharing graph"),
        (lambda: network("adashare"), "it decides while it trains"),
        (lambda: build(LateSplit), "its tasks run different blocks"),
        (lambda: build(SharedDecoder), "weights outside its encoder are shared"),
    ],
)
def test_networks_without_one_encoder_are_refused(make_network: Callable[[], Architecture], why: str) -> None:
    with pytest.raises(UserError, match=f"needs one encoder whose output all tasks read, and .*{why}"):
        started(MGDA, make_network(), make_run(), gradients="features")


def test_images_of_their_own_and_pieces_are_refused() -> None:
    strategy = started(MGDA, network(), make_run(), gradients="features")
    rows = {"colour": torch.tensor([0, 1]), "shape": torch.tensor([1, 2]), "kind": torch.tensor([2, 3])}
    batch: Batch = replace(batches(1)[0], rows=rows)
    with pytest.raises(UserError, match="the tasks read different maps"):
        strategy.step(batch)
    run = make_run()
    run.micro_batches = 2
    with pytest.raises(UserError, match="in pieces"):
        started(MGDA, network(), run, gradients="features")
