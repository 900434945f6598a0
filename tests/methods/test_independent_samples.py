"""Strategies that cut a batch into independent samples: which images make which gradients; small batches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from mtlbench.contract import Architecture, Batch, TaskLosses
from mtlbench.methods.modo import MoDo
from mtlbench.methods.sdmgrad import SDMGrad
from tests.tiny_methods import TASKS, batches, graph_of, make_run, network, snapshot, started

NAMES = sorted(task.name for task in TASKS)


def rows_of(net: Architecture, part: Batch) -> Tensor:
    """The tasks' gradients [T, P] for the shared weights on one part, in the order of their names."""
    losses = net.losses(part)
    shared, rows = net.shared_parameters(), []
    for task in NAMES:
        gradients = torch.autograd.grad(losses[task], shared, retain_graph=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


def shared_gradient(net: Architecture) -> Tensor:
    gradients = [weight.grad for weight in net.shared_parameters()]
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


@pytest.mark.parametrize("cls", [MoDo, SDMGrad])
def test_each_sample_is_a_part_of_the_batch(cls: type[MoDo | SDMGrad], monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    strategy = started(cls, net, make_run(name="sgd", momentum=0.0, lr=1e-3))
    (batch,) = batches(1, size=6)
    other = copy.deepcopy(net)
    parts = batch.pieces(cls.samples)
    rows = [rows_of(other, part) for part in parts]
    seen: list[Tensor] = []

    def weights(gramian: Tensor, losses: TaskLosses) -> Tensor:
        seen.append(gramian)
        return torch.arange(1.0, len(losses) + 1, dtype=torch.float64)

    monkeypatch.setattr(strategy, "weights", weights)
    losses = strategy.step(batch)
    torch.testing.assert_close(seen[0], (rows[0] @ rows[1].T).double(), rtol=1e-4, atol=1e-8)
    descended = rows[2] if cls is SDMGrad else (rows[0] + rows[1]) / 2
    torch.testing.assert_close(shared_gradient(net), torch.arange(1.0, len(NAMES) + 1) @ descended, rtol=1e-4, atol=1e-7)

    # Losses, heads and BatchNorm: every image counts once.
    by_part = [other.losses(part) for part in parts]
    for task in NAMES:
        mean = torch.stack([losses_of_part[task] for losses_of_part in by_part]).mean()
        torch.testing.assert_close(losses[task], mean.detach())
        own = other.own_parameters(task)
        for weight, gradient in zip(
            net.own_parameters(task), torch.autograd.grad(mean, own, retain_graph=True), strict=True
        ):
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-7)
    for name, buffer in net.named_buffers():
        if "num_batches_tracked" in name:
            assert int(buffer) == cls.samples


@pytest.mark.parametrize("cls", [MoDo, SDMGrad])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_small_batches_have_fewer_parts(cls: type[MoDo | SDMGrad], size: int) -> None:
    net = network()
    strategy = started(cls, net, make_run())
    sizes: list[int] = []
    graph_of(net).register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    before = snapshot(net)
    strategy.step(batches(1, size=size)[0])
    assert sum(sizes) == size and min(sizes) >= 2
    assert not [key for key, weight in snapshot(net).items() if torch.equal(weight, before[key])]


@pytest.mark.parametrize("cls", [MoDo, SDMGrad])
def test_a_task_without_labels_in_one_part(cls: type[MoDo | SDMGrad]) -> None:
    """It keeps its weights' sum, the loss of the labelled images, and finite weights."""
    net = network()
    strategy = started(cls, net, make_run())
    (batch,) = batches(1, size=6)
    batch.labelled["shape"][:3] = False
    batch.targets["shape"][:3] = -1
    expected = copy.deepcopy(net)
    losses = strategy.step(batch)
    parts = [expected.losses(part) for part in batch.pieces(cls.samples)]
    labelled = [int(part.labelled["shape"].sum()) for part in batch.pieces(cls.samples)]
    mean = sum(count / 3 * float(part["shape"].detach()) for count, part in zip(labelled, parts, strict=True) if count)
    assert float(losses["shape"]) == pytest.approx(mean, rel=1e-5)
    weights = strategy.lambdas if isinstance(strategy, MoDo) else strategy.w
    assert float(weights.sum()) == pytest.approx(1) and float(weights.min()) >= 0
    assert all(bool(weight.isfinite().all()) for weight in net.parameters())


@pytest.mark.parametrize("cls", [MoDo, SDMGrad])
def test_weights_of_absent_tasks_stay(cls: type[MoDo | SDMGrad]) -> None:
    strategy = started(cls, network(), make_run())
    weights = strategy.lambdas if isinstance(strategy, MoDo) else strategy.w
    at = strategy.tasks.index("shape")
    strategy.step(batches(1, {0: ["shape"]}, size=6)[0])
    assert float(weights[at]) == pytest.approx(1 / 3) and float(weights.sum()) == pytest.approx(1)
    assert not torch.allclose(weights, torch.full_like(weights, 1 / 3))
