"""Strategies that weigh losses or change the optimizer, against official implementations (tests/golden/loss_weighting.npz).

Where the file has gradients [K, T, P] and losses [K, T], the networks have these at the K steps whatever their weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtlbench.contract import Strategy, TaskLosses, UserError
from mtlbench.methods._shared.affinity_propagation import cluster
from mtlbench.methods.adatask import AdaTask
from mtlbench.methods.auto_lambda import AutoLambda
from mtlbench.methods.cov_weighting import CoVWeighting
from mtlbench.methods.db_mtl import DBMTL
from mtlbench.methods.excess_mtl import ExcessMTL
from mtlbench.methods.f_mtl import FMTL
from mtlbench.methods.go4align import GO4Align, groups_on_a_line
from mtlbench.methods.ldc_mtl import LDCMTL
from mtlbench.methods.selective_groups import SelectiveGroups
from mtlbench.methods.stch import STCH
from mtlbench.methods.uw_so import UWSO
from tests.tiny import S
from tests.tiny_methods import GOLDEN, Plain, make_run, network, started

FILE = np.load(GOLDEN / "loss_weighting.npz")

Floats = NDArray[np.float64]


@pytest.fixture(params=["two", "three", "four"])
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tensor(key: str) -> Tensor:
    return torch.from_numpy(np.asarray(FILE[key]))


def close(values: Any, key: str, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(values), FILE[key], rtol=tolerance, atol=tolerance)


class Given(Plain):
    """A network with given gradients and losses at every step; the step's number is the batch.

    A head is a number that is added to its task's loss: its gradient is the weight of the loss.
    """

    def __init__(self, gradients: Tensor, given: Tensor) -> None:
        layer = nn.Linear(gradients.shape[2], 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(layer.weight)
        heads = {f"t{number}": Offset() for number in range(given.shape[1])}

        def losses_of(batch: int, tasks: Sequence[str]) -> TaskLosses:
            numbers = {task: int(task[1:]) for task in tasks}
            return {
                task: given[batch, t] + gradients[batch, t] @ layer.weight[0] + heads[task].value
                for task, t in numbers.items()
            }

        super().__init__(layer, heads, losses_of)
        self.weight = layer.weight

    def head_gradients(self) -> list[float]:
        return [float(parameter.grad) for parameter in self.heads.parameters() if parameter.grad is not None]


class Offset(nn.Module):
    """One number, 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros((), dtype=torch.float64))


def given(case: str) -> Given:
    return Given(tensor(f"{case}/gradients"), tensor(f"{case}/losses"))


def start(cls: type[S], net: Plain, **hypers: Any) -> S:
    """A strategy in double precision whose steps move nothing."""
    strategy = started(cls, net, make_run(name="sgd", momentum=0.0, lr=0.0, epochs=8), **hypers)
    strategy.double()
    strategy.start()
    return strategy


def combined(strategy: Strategy, net: Given, steps: int) -> list[Floats]:
    """The shared gradient of every step."""
    return [shared_gradient(strategy, net, step) for step in range(steps)]


def shared_gradient(strategy: Strategy, net: Given, step: int) -> Floats:
    strategy.step(step)  # type: ignore[arg-type]
    assert net.weight.grad is not None
    gradient: Floats = net.weight.grad[0].numpy().copy()
    return gradient


@pytest.mark.parametrize("mu", [1.0, 0.25])
def test_stch(case: str, mu: float) -> None:
    net = given(case)
    strategy = start(STCH, net, mu=mu, warm_up=0.25)
    losses, gradients = tensor(f"{case}/losses").numpy(), []
    for epoch in range(4):
        gradients += [shared_gradient(strategy, net, step) for step in (2 * epoch, 2 * epoch + 1)]
        means = losses[2 * epoch : 2 * epoch + 2].mean(0)
        strategy.end_epoch(dict(zip(strategy.tasks, means.tolist(), strict=True)))
    close(gradients, f"{case}/stch/mu{mu}/combined")


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_db_mtl(case: str, sigma: float) -> None:
    net = given(case)
    strategy = start(DBMTL, net, decay=sigma)
    key = f"{case}/db_mtl/sigma{sigma}"
    for step, heads in enumerate(FILE[f"{key}/heads"]):
        gradient = shared_gradient(strategy, net, step)
        np.testing.assert_allclose(gradient, FILE[f"{key}/combined"][step], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(net.head_gradients(), heads, rtol=1e-7)
    close(strategy.kept["mean"], f"{key}/last_means")


def test_excess_mtl(case: str) -> None:
    net = given(case)
    strategy = start(ExcessMTL, net, step_size=0.1)
    for step, weights in enumerate(FILE[f"{case}/excess_mtl/weights"]):
        gradient = shared_gradient(strategy, net, step)
        np.testing.assert_allclose(gradient, FILE[f"{case}/excess_mtl/combined"][step], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(strategy.weight, weights, rtol=1e-7)
        np.testing.assert_allclose(net.head_gradients(), weights, rtol=1e-7)


def test_cov_weighting(case: str) -> None:
    net = given(case)
    strategy = start(CoVWeighting, net)
    for step, weights in enumerate(FILE[f"{case}/cov_weighting/weights"]):
        shared_gradient(strategy, net, step)
        np.testing.assert_allclose(net.head_gradients(), weights, rtol=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
def test_go4align(case: str, groups: int) -> None:
    net = given(case)
    strategy = start(GO4Align, net, group_count=groups, step_size=0.05)
    for step, weights in enumerate(FILE[f"{case}/go4align/groups{groups}/weights"]):
        shared_gradient(strategy, net, step)
        np.testing.assert_allclose(net.head_gradients(), weights, rtol=1e-9)


def test_groups_on_a_line_are_the_best_of_all() -> None:
    """Against every way to divide seven numbers into three groups."""
    values = np.random.default_rng(0).normal(size=7)

    def spread(labels: Sequence[int]) -> float:
        groups = [values[np.asarray(labels) == number] for number in set(labels)]
        return float(sum(((group - group.mean()) ** 2).sum() for group in groups))

    found = [0] * 7
    for number, members in enumerate(groups_on_a_line(values.tolist(), 3)):
        for member in members:
            found[member] = number
    labellings = [[code // 3**place % 3 for place in range(7)] for code in range(3**7)]
    assert spread(found) == pytest.approx(min(spread(labels) for labels in labellings if len(set(labels)) == 3))
    assert groups_on_a_line([2.0, 1.0], 5) == [[1], [0]]


@pytest.mark.parametrize("normalisation", ["none", "initial", "log"])
def test_ldc_mtl(case: str, normalisation: str) -> None:
    net, sigma = given(case), tensor(f"{case}/ldc_mtl/sigma")
    strategy = start(LDCMTL, net, normalisation=normalisation)
    for parameter, value in zip(strategy.router, torch.logit(sigma), strict=True):
        parameter.data = value
    key = f"{case}/ldc_mtl/{normalisation}"
    for step, weights in enumerate(FILE[f"{key}/loss_weights"]):
        shared_gradient(strategy, net, step)
        np.testing.assert_allclose(net.head_gradients(), weights, rtol=1e-9)
        if normalisation != "initial":  # there the official sum of the weights is no constant
            slope = (sigma * (1 - sigma)).numpy()
            gradients = [float(parameter.grad) for parameter in strategy.router if parameter.grad is not None]
            np.testing.assert_allclose(gradients, FILE[f"{key}/sigma_gradient"][step] * slope, rtol=1e-9, atol=1e-9)


def test_uw_so() -> None:
    """The equation, by hand: losses 1, 2, 4 and temperature ½ give exponents 2, 1, ½."""
    net = Given(torch.zeros(1, 3, 1, dtype=torch.float64), torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64))
    shared_gradient(start(UWSO, net, temperature=0.5), net, 0)
    powers = np.exp([2.0, 1.0, 0.5])
    np.testing.assert_allclose(net.head_gradients(), powers / powers.sum(), rtol=1e-9)


# -- AdaTask ---------------------------------------------------------------------------------------------------------------


class Vector(nn.Module):
    """A vector, 0 at first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(size, dtype=torch.float64))


def least_squares() -> Plain:
    """Losses mean (A θ + B h − c)² in a shared vector θ and one h per task."""
    a, b, c = (tensor(f"adatask/{name}") for name in "abc")
    shared, heads = Vector(a.shape[2]), {f"t{number}": Vector(b.shape[2]) for number in range(len(b))}

    def losses_of(batch: object, tasks: Sequence[str]) -> TaskLosses:
        numbers = {task: int(task[1:]) for task in tasks}
        return {task: (a[t] @ shared.value + b[t] @ heads[task].value - c[t]).square().mean() for task, t in numbers.items()}

    return Plain(shared, heads, losses_of)


def test_adatask() -> None:
    net = least_squares()
    strategy = started(AdaTask, net, make_run(name="adam", lr=0.01))
    for shared, heads in zip(FILE["adatask/shared"], FILE["adatask/heads"], strict=True):
        strategy.step(None)  # type: ignore[arg-type]
        np.testing.assert_allclose(net.shared_parameters()[0].detach(), shared, rtol=1e-9, atol=1e-12)
        ours = np.stack([net.own_parameters(task)[0].detach().numpy() for task in net.tasks])
        np.testing.assert_allclose(ours, heads, rtol=1e-9, atol=1e-12)


def test_adatask_decays_a_weight_once() -> None:
    """With gradients of 0 and decoupled decay a shared weight shrinks as fast as one that a task owns alone."""
    net = network()
    strategy = started(AdaTask, net, make_run(name="adamw", lr=1e-3, weight_decay=0.3))
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    for task, optimizer in strategy.optimizers.items():
        for weight in strategy.weights_of[task]:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    for name, weight in net.named_parameters():
        torch.testing.assert_close(weight, before[name] * (1 - 3e-4), rtol=1e-6, atol=1e-9)


# -- Auto-lambda -----------------------------------------------------------------------------------------------------------


@dataclass
class Halves:
    """A batch whose halves are given: images to train on (the whole batch, too) and held-out ones."""

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]

    def pieces(self, count: int) -> list[tuple[Tensor, Tensor]]:
        assert count == 2
        return [self.train, self.held_out]


def tanh_network() -> Plain:
    """Task t predicts u_t · tanh(W x)."""
    trunk = nn.Linear(6, 4, bias=False, dtype=torch.float64)
    trunk.weight.data = tensor("auto_lambda/trunk0").clone()
    heads = {f"t{number}": nn.Linear(4, 1, bias=False, dtype=torch.float64) for number in range(3)}
    for head, value in zip(heads.values(), tensor("auto_lambda/heads0"), strict=True):
        head.weight.data = value[None].clone()

    def losses_of(batch: Halves | tuple[Tensor, Tensor], tasks: Sequence[str]) -> TaskLosses:
        x, y = batch.train if isinstance(batch, Halves) else batch
        features = torch.tanh(trunk(x))
        return {task: (heads[task](features)[:, 0] - y[int(task[1:])]).square().mean() for task in tasks}

    return Plain(trunk, heads, losses_of)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("label", "primary"), [("all", ()), ("first", ("t0",))])
def test_auto_lambda(optimizer: str, label: str, primary: tuple[str, ...]) -> None:
    net, key = tanh_network(), f"auto_lambda/{optimizer}/{label}"
    lr, momentum, decay, weight_lr = FILE["auto_lambda/settings_lr_momentum_decay_weightlr"].tolist()
    run = make_run(name=optimizer, lr=lr, momentum=momentum, weight_decay=decay)
    strategy = started(AutoLambda, net, run, weight_lr=weight_lr, primary=primary)
    strategy.double()
    for parameter in strategy.task_weights:
        parameter.data.fill_(0.1)
    strategy.start()
    for step, (x, y) in enumerate(zip(tensor("auto_lambda/x"), tensor("auto_lambda/y"), strict=True)):
        strategy.step(Halves((x[0], y[0]), (x[1], y[1])))  # type: ignore[arg-type]
        gradients = [float(parameter.grad) for parameter in strategy.task_weights if parameter.grad is not None]
        np.testing.assert_allclose(gradients, FILE[f"{key}/gradients"][step], rtol=1e-6, atol=1e-9)
        weights = [float(parameter.detach()) for parameter in strategy.task_weights]
        np.testing.assert_allclose(weights, FILE[f"{key}/weights"][step], rtol=1e-6, atol=1e-9)
        trunk, heads = net.shared_parameters()[0], [net.own_parameters(task)[0].detach() for task in net.tasks]
        np.testing.assert_allclose(trunk.detach(), FILE[f"{key}/trunk"][step], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(torch.cat(heads), FILE[f"{key}/heads"][step], rtol=1e-6, atol=1e-9)


def test_auto_lambda_refuses_unknown_primary_tasks() -> None:
    with pytest.raises(UserError, match="speed"):
        started(AutoLambda, network(), make_run(), primary=("speed",))


# -- selective task group updates -------------------------------------------------------------------------------------------


def five_tasks() -> SelectiveGroups:
    losses = tensor("selective/losses")
    net = Given(torch.zeros(1, losses.shape[2], 1, dtype=torch.float64), torch.ones(1, losses.shape[2]).double())
    return start(SelectiveGroups, net, rate=0.1)


def test_selective_groups_measure_affinity() -> None:
    strategy, group_of_task = five_tasks(), FILE["selective/group_of_task"]
    groups = [[task for task, number in zip(strategy.tasks, group_of_task, strict=True) if number == g] for g in range(3)]
    for batch, (order, passes) in enumerate(zip(FILE["selective/order"], FILE["selective/losses"], strict=True)):
        values = [dict(zip(strategy.tasks, losses.tolist(), strict=True)) for losses in passes]
        for number, group in enumerate(order):
            strategy.measure(groups[group], values[number], values[number + 1])
        np.testing.assert_allclose(strategy.affinity, FILE["selective/affinity"][batch], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 4, 5, 8, 12])
def test_affinity_propagation(count: int) -> None:
    key = f"selective/clusters{count}"
    for affinity, labels in zip(FILE[f"{key}/affinity"], FILE[f"{key}/labels"], strict=True):
        similarity = affinity / affinity.diagonal()
        similarity = (similarity + similarity.T) / 2
        found = cluster(similarity, float(np.median(similarity)))
        assert found is not None
        assert partition(found) == partition(labels.tolist())


def partition(labels: Sequence[int]) -> set[frozenset[int]]:
    """The sets of items with equal labels."""
    return {frozenset(item for item, label in enumerate(labels) if label == number) for number in labels}


def test_selective_groups_step_in_turn_and_credit_who_stepped() -> None:
    """Three groups of one task on one batch, by hand; afterwards one group of all, which steps twice."""
    net, again = least_squares(), least_squares()
    run = make_run(name="sgd", momentum=0.0, lr=1e-3)
    strategy = started(SelectiveGroups, net, run, rate=1.0, warm_up=1.0)
    batch = Labelled()
    strategy.step(batch)  # type: ignore[arg-type]
    order = [f"t{number}" for number in torch.randperm(3, generator=run.generator("order")).tolist()]
    seen = []
    for task in order:
        losses = again.losses(None)
        seen.append({name: float(loss.detach()) for name, loss in losses.items()})
        weights = again.parameters_of([task])
        for weight, gradient in zip(weights, torch.autograd.grad(losses[task], weights), strict=True):
            weight.data -= 1e-3 * gradient
    for ours, theirs in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    place = {task: number for number, task in enumerate(strategy.names)}
    for task, before, after in zip(order, seen, seen[1:], strict=False):
        falls = [1 - after[name] / before[name] for name in strategy.names]
        np.testing.assert_allclose(strategy.affinity[place[task]], falls, rtol=1e-9)
    assert strategy.updates_per_step() == 3
    strategy.group_of_task.zero_()
    assert strategy.updates_per_step() == 2
    assert strategy.groups_of_tasks() == [("t0", "t1", "t2")]


class Labelled:
    """A batch with labels of all tasks."""

    def has_labels(self, task: str) -> bool:
        return True


# -- F-MTL ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combination", ["sum", "imtl_g"])
def test_f_mtl_takes_gradients_at_the_worst_point_nearby(combination: str) -> None:
    """Quadratic losses, whose perturbed gradient is known: g + ρ H g / ‖g‖, apart for shared weights and heads."""
    from torchjd.aggregation import IMTLG

    net = least_squares()
    a, b, c = (tensor(f"adatask/{name}") for name in "abc")
    strategy = started(FMTL, net, make_run(name="sgd", momentum=0.0, lr=0.0), rho=0.1, combination=combination)
    strategy.step(None)  # type: ignore[arg-type]
    rows, sharp = [], []
    for t, task in enumerate(sorted(net.tasks)):
        residual, scale = -c[t], 2 / len(c[t])
        g, own = scale * a[t].T @ residual, scale * b[t].T @ residual
        moved = residual + a[t] @ (0.1 * g / g.norm()) + b[t] @ (0.1 * own / own.norm())
        rows.append(g)
        sharp.append(scale * a[t].T @ moved)
        gradient = net.own_parameters(task)[0].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, scale * b[t].T @ moved)
    plain, perturbed = torch.stack(rows), torch.stack(sharp)
    expected = perturbed.sum(0) if combination == "sum" else IMTLG()(plain) + IMTLG()(perturbed - plain)
    gradient = net.shared_parameters()[0].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert all(not weight.detach().any() for weight in net.parameters())
