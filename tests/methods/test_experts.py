"""Mixtures of experts against LibMTL. Its gates see every pixel, so ours get a grid of the image's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.measure.cost import inference_flops
from mtlbench.methods._shared.experts import SoftmaxGate, mix
from mtlbench.methods.cgc import CGC
from mtlbench.methods.dselect_k import DSelectK, SelectorGate, penalty, smooth_step
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.mmoe import MMoE
from mtlbench.methods.ple import PLE
from tests.methods.golden_features import load, state, tensor
from tests.tiny import batch, build, dense_tasks
from tests.tiny_methods import GOLDEN

FILE = np.load(GOLDEN / "experts.npz")
IMAGE = tensor(FILE, "image")
KINDS = (MMoE, CGC, PLE, DSelectK)
each = pytest.mark.parametrize("kind", KINDS)


def gate_of(prefix: str, experts: int) -> SoftmaxGate:
    """A golden gate."""
    gate = SoftmaxGate(IMAGE.shape[1], experts, cells=(IMAGE.shape[2], IMAGE.shape[3])).double()
    gate.linear.load_state_dict({key: tensor(FILE, f"{prefix}/{key}") for key in ("weight", "bias")})
    return gate


@pytest.mark.parametrize("task", ["a", "b"])
def test_mmoe_matches_libmtl(task: str) -> None:
    gate = gate_of(f"mmoe/gate_{task}", 3)
    torch.testing.assert_close(gate(IMAGE), tensor(FILE, f"mmoe/gate_{task}/mixing"))
    mixed = mix(tensor(FILE, "mmoe/experts"), gate(IMAGE))
    torch.testing.assert_close(mixed, tensor(FILE, f"mmoe/out_{task}"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", ["a", "b"])
def test_cgc_matches_libmtl(task: str) -> None:
    experts = torch.cat([tensor(FILE, "cgc/shared"), tensor(FILE, f"cgc/own_{task}")])
    mixed = mix(experts, gate_of(f"cgc/gate_{task}", len(experts))(IMAGE))
    torch.testing.assert_close(mixed, tensor(FILE, f"cgc/out_{task}"), rtol=1e-9, atol=1e-9)


def test_ple_of_one_task_matches_libmtl() -> None:
    """There a shared path and the task's are one, if their gates are equal: LibMTL's network, which has no shared path."""
    (task,) = tasks = dense_tasks()[:1]
    net = build(PLE, tasks, num_shared=2).double()

    def convolution(depth: int, name: str) -> nn.Sequential:
        values = state(FILE, f"ple/{depth}/{name}/")
        channels, inputs = values["weight"].shape[:2]
        layer = load(nn.Conv2d(inputs, channels, 3, padding=1), values)
        return nn.Sequential(layer, nn.ReLU(), *([nn.MaxPool2d(2)] if depth == 0 else []))

    size = (IMAGE.shape[2], IMAGE.shape[3])
    for depth in range(5):
        for number, expert in enumerate(net.common):
            expert[depth] = convolution(depth, f"shared{number}")
        net.private[task.name][0][depth] = convolution(depth, "own0")
        gates = [net.gates[task.name], *([net.shared_gates] if depth < 4 else [])]
        channels = FILE[f"ple/{depth}/own0/weight"].shape[1]
        for of_path in gates:
            gate = SoftmaxGate(channels, 3, cells=size).double()
            gate.linear.load_state_dict(state(FILE, f"ple/{depth}/gate/"))
            of_path[depth] = gate
        size = size if depth else (size[0] // 2, size[1] // 2)
    maps = net.features(IMAGE, [task.name])[task.name]
    torch.testing.assert_close(maps[-1], tensor(FILE, "ple/out"), rtol=1e-9, atol=1e-9)


def selector_gate(experts: int, task: str) -> SelectorGate:
    """A golden gate of DSelect-k."""
    gate = SelectorGate(IMAGE.shape[1], experts, 2, 1.0, cells=(IMAGE.shape[2], IMAGE.shape[3])).double()
    gate.load_state_dict(state(FILE, f"dselect_{experts}/{task}/"), strict=False)
    return gate


@pytest.mark.parametrize("experts", [3, 4])
@pytest.mark.parametrize("task", ["a", "b"])
def test_selection_matches_libmtl(experts: int, task: str) -> None:
    prefix, weights = f"dselect_{experts}", selector_gate(experts, task).eval()(IMAGE)
    # Selectors are computed in single precision, also where the network's is lower.
    torch.testing.assert_close(weights.double(), tensor(FILE, f"{prefix}/mixing_{task}"), rtol=1e-5, atol=1e-6)
    mixed = mix(tensor(FILE, f"{prefix}/experts"), weights)
    torch.testing.assert_close(mixed.double(), tensor(FILE, f"{prefix}/out_{task}"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("experts", [3, 4])
def test_the_selectors_penalty_has_libmtls_gradient(experts: int) -> None:
    gate = selector_gate(experts, "b")
    gate.chosen = []
    gate(IMAGE)
    (penalty(gate.chosen[0], 1e-6) * len(IMAGE)).backward()  # a mean here, a sum there
    expected = tensor(FILE, f"dselect_{experts}/penalty_grad_z_weight_b")
    assert gate.z.weight.grad is not None and expected.any()
    torch.testing.assert_close(gate.z.weight.grad, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_smooth_step_is_flat_outside_and_symmetric() -> None:
    t = torch.tensor([-9.0, -1.0, -0.3, 0.0, 0.3, 1.0, 9.0], requires_grad=True)
    steps = smooth_step(t, gamma=2.0)
    steps.sum().backward()
    assert t.grad is not None
    torch.testing.assert_close(steps + steps.flip(0), torch.ones(7))
    assert steps[[0, 1, 5, 6]].tolist() == [0, 0, 1, 1]
    assert t.grad[[0, 6]].tolist() == [0, 0] and bool((t.grad[2:5] > 0).all())


def test_selectors_that_have_decided_choose_k_experts() -> None:
    gate = SelectorGate(3, 8, selectors=2, gamma=1.0)
    with torch.no_grad():
        gate.z.weight.zero_()
        gate.z.bias.copy_(torch.tensor([1.0, -1, 1, -1, 1, 1]))  # experts 0b101 and 0b011
    weights = gate(torch.rand(2, 3, 8, 8))
    assert (weights > 0).nonzero()[:, 1].tolist() == [3, 5, 3, 5]
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


@each
def test_equal_experts_are_hard_sharing(kind: type[Any]) -> None:
    """Weights of gates sum to 1, so equal experts give what each of them gives."""
    net, shared = build(kind).eval(), build(HardSharing).eval()
    groups = [net.experts] if hasattr(net, "experts") else [net.common, *net.private.values()]
    first = groups[0][0].state_dict()
    for group in groups:
        for expert in group:
            expert.load_state_dict(first)
    image = batch().image
    for task, prediction in shared(image).items():
        torch.testing.assert_close(net(image)[task], prediction, rtol=1e-3, atol=1e-4)


@each
@pytest.mark.parametrize("depths", [1, 2, 4])
def test_experts_can_be_last_stages(kind: type[Any], depths: int) -> None:
    """Fewer depths cost less; ownership is right at each."""
    net = build(kind, expert_depths=depths)
    device = torch.device("cpu")
    whole = build(kind)
    assert inference_flops(net, net, device)["all"] < inference_flops(whole, whole, device)["all"]
    net.train()
    owners, weights = net.owners(), dict(net.named_parameters())
    for task, loss in net.losses(batch()).items():
        gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True, allow_unused=True)
        reached = {name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None}
        assert reached == {name for name in weights if task in owners[name]}


@each
def test_experts_begin_unlike_each_other(kind: type[Any]) -> None:
    net = build(kind)
    group = list(net.experts) if hasattr(net, "experts") else [net.common[0], *(own[0] for own in net.private.values())]
    firsts: list[Tensor] = [next(iter(expert.parameters())) for expert in group]
    assert len({tuple(weight.flatten().tolist()) for weight in firsts}) == len(firsts)


@each
def test_exchange_is_what_gates_let_through(kind: type[Any]) -> None:
    net = build(kind).train()
    net.losses(batch())
    incoming: dict[tuple[str, int], float] = {}
    for edge in net.exchange():
        incoming[edge.target, edge.depth] = incoming.get((edge.target, edge.depth), 0.0) + edge.weight
    assert {task for task, _ in incoming} >= set(net.tasks)
    if kind is not DSelectK:
        assert all(total == pytest.approx(1, abs=1e-5) for total in incoming.values())
