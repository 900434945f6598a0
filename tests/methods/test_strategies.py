"""Every strategy on every architecture: what each must do, and what each says of itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from mtlbench.config.plugins import Registry
from mtlbench.contract import (
    Architecture,
    JacobianStrategy,
    OptimizerSpec,
    SharingGraph,
    SharingPlan,
    Strategy,
    TaskLosses,
    UserError,
    set_lr,
)
from mtlbench.methods.dtp import DTP
from mtlbench.methods.dwa import DWA
from mtlbench.methods.famo import FAMO
from mtlbench.methods.fixed import Fixed
from mtlbench.methods.gradnorm import GradNorm
from mtlbench.methods.mgda import MGDA
from mtlbench.methods.nash_mtl import NashMTL
from mtlbench.methods.pcgrad import PCGrad
from mtlbench.methods.uncertainty import Uncertainty
from mtlbench.tasks import Classification, Task
from tests.tiny_methods import (
    TASKS,
    SignSpec,
    batches,
    build,
    make,
    make_run,
    mean_losses,
    network,
    skip_without_packages,
    snapshot,
    started,
    strategy_class,
    strategy_names,
    train,
)

STRATEGIES = strategy_names()
ARCHITECTURES = Registry().architectures()
SHARING = ["hard_sharing", "cross_stitch"]
SAME = {frozenset(pair) for pair in combinations(("equal", "fixed", "tuned_scalarisation"), 2)}
"""Strategies that are meant to coincide here: the published weights of the tests' tasks are 1, and no search was made."""

NAMES = [task.name for task in TASKS]


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    skip_without_packages(request.param)
    return str(request.param)


class TwoBranches(Architecture):
    """Parameters of all owners: everyone's stem, a branch of two tasks and one of the third."""

    def build(self) -> None:
        units = self.stage_units()
        table = [(0, 0, 0) if depth < 2 else (0, 0, 1) for depth in range(len(units))]
        self.graph = SharingGraph(units, SharingPlan(tuple(unit.name for unit in units), tuple(self.tasks), tuple(table)))


def network_of(architecture: str) -> Architecture:
    """An architecture of `methods/`, or "two branches"."""
    return build(TwoBranches) if architecture == "two branches" else network(architecture)


def test_declares_what_it_is(name: str) -> None:
    cls = strategy_class(name)
    assert cls.invariances <= {"one_task", "task_order", "loss_scale"}
    assert "invariances" in vars(cls), "a strategy says itself what it promises"
    assert all(info.help for info in cls.hypers.values())
    assert cls.__doc__ is not None
    assert cls.needs_sharing or not issubclass(cls, JacobianStrategy)
    assert all("pip install" in hint for hint in cls.requires.values())


def test_no_two_strategies_coincide() -> None:
    """After three epochs of one batch no pair has come to the same weights (nor to a scaled step, under Adam)."""
    ends: dict[str, Tensor] = {}
    for name in Registry().strategies():
        net = network()
        train(make(name, net, make_run(lr=1e-2)), batches(1), epochs=3)
        ends[name] = torch.cat([weight.detach().flatten() for weight in net.shared_parameters()])
    close = {
        frozenset({first, second})
        for first in ends
        for second in ends
        if first < second and float((ends[first] - ends[second]).abs().max()) < 1e-5
    }
    assert close == SAME


# -- invariances, as declared --------------------------------------------------------------------------------------------


def end(
    name: str,
    tasks: tuple[Task, ...] = TASKS,
    spec: OptimizerSpec | None = None,
    scale: Mapping[str, float] | None = None,
    epochs: int = 3,
) -> dict[str, Tensor]:
    """The network's weights after training."""
    net = network(tasks=tasks)
    for task, factor in (scale or {}).items():
        _scale_loss(net.tasks[task], factor)
    strategy = make(name, net, make_run(spec=spec or OptimizerSpec("sgd", lr=1e-2, momentum=0.0)))
    train(strategy, batches(2), epochs)
    return snapshot(net)


def _scale_loss(task: Task, factor: float) -> None:
    loss = type(task).loss
    # On the instance, so that `_unscaled` can take it away.
    vars(task)["loss"] = lambda prediction, target: factor * loss(task, prediction, target)


@pytest.fixture(autouse=True)
def _unscaled() -> Iterator[None]:
    yield
    for task in TASKS:
        vars(task).pop("loss", None)


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> bool:
    return all(torch.allclose(ours[key], theirs[key], rtol=tolerance, atol=tolerance) for key in ours)


def test_one_task_as_declared(name: str) -> None:
    tasks = TASKS[:1]
    agrees = same(end(name, tasks), end("equal", tasks), 1e-6)
    assert agrees or "one_task" not in strategy_class(name).invariances


def test_task_order_as_declared(name: str) -> None:
    agrees = same(end(name, epochs=1), end(name, TASKS[::-1], epochs=1), 1e-5)
    assert agrees == ("task_order" in strategy_class(name).invariances)


def test_loss_scale_as_declared(name: str) -> None:
    """Under sign descent, which does not care how long a gradient is."""
    if "loss_scale" not in strategy_class(name).invariances:
        pytest.skip("not promised")
    plain, scaled = (end(name, spec=SignSpec(), epochs=1, scale=scale) for scale in ({}, {"shape": 4.0}))
    assert agreement(plain, scaled) > 0.99


def agreement(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The fraction of single weights that are equal: a sign may flip where rounding decides it."""
    equal = [(ours[key] - theirs[key]).abs() < 1e-6 for key in ours]
    return sum(float(part.sum()) for part in equal) / sum(part.numel() for part in equal)


# -- single strategies ---------------------------------------------------------------------------------------------------


def test_fixed_uses_published_weights_and_the_users() -> None:
    tasks = (Classification("colour", 3, weight=2.0), *TASKS[1:])
    strategy = started(Fixed, network(tasks=tasks), make_run(), weights={"shape": 0.5})
    assert strategy.weight_of == {"colour": 2.0, "shape": 0.5, "kind": 1.0}
    with pytest.raises(UserError, match="speed"):
        started(Fixed, network(), make_run(), weights={"speed": 1.0})


def test_dwa_turns_to_the_task_that_stalls() -> None:
    strategy = started(DWA, network(), make_run())
    even = dict.fromkeys(NAMES, 1.0)
    assert strategy.task_weights() == pytest.approx(even)
    strategy.end_epoch(dict.fromkeys(NAMES, 2.0))
    assert strategy.task_weights() == pytest.approx(even)
    strategy.end_epoch({"colour": 1.0, "shape": 2.0})
    weights = strategy.task_weights()
    assert weights["shape"] == pytest.approx(weights["kind"])
    assert weights["colour"] < weights["shape"]
    assert sum(weights.values()) == pytest.approx(3.0)


def test_gradnorm_reads_the_last_shared_layer() -> None:
    net = network()
    (last,) = started(GradNorm, net, make_run()).last_shared
    assert last.ndim == 4 and last.shape[0] == net.stage_channels[-1]
    branches = build(TwoBranches)
    strategy = started(GradNorm, branches, make_run())
    assert any(weight is strategy.last_shared[0] for weight in branches.shared_parameters())
    assert float(strategy.weight.sum()) == pytest.approx(3.0)


def test_famo_logits_keep_their_learning_rate() -> None:
    strategy = started(FAMO, network(), make_run())
    set_lr(strategy.optimizers.values(), 0.1)
    assert strategy.optimizers["logits"].param_groups[0]["lr"] == pytest.approx(0.025)
    assert strategy.optimizers["weights"].param_groups[0]["lr"] == pytest.approx(1e-4)


def test_uncertainty_is_trained_undecayed() -> None:
    strategy = started(Uncertainty, network(), make_run(weight_decay=0.1))
    groups = strategy.optimizers["weights"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    strategy.step(batches(1)[0])
    assert all(float(log_variance.detach()) != 0 for log_variance in strategy.parameters())


@pytest.mark.parametrize("cls", [Uncertainty, FAMO])
def test_learned_weights_of_absent_tasks_stay(cls: type[Strategy]) -> None:
    """Not even momentum moves them: every task has a parameter of its own."""
    strategy = started(cls, network(), make_run())
    strategy.step(batches(1)[0])
    before = [weight.detach().clone() for weight in strategy.parameters()]
    strategy.step(batches(1, {0: ["shape"]})[0])
    moved = [not torch.equal(weight, old) for weight, old in zip(strategy.parameters(), before, strict=True)]
    assert moved == [name != "shape" for name in NAMES]


def test_dtp_weighs_by_the_moving_indicator() -> None:
    strategy = started(DTP, network(), make_run(), smoothing=0.5)
    first, second = (mean_losses(strategy.step(batch)) for batch in batches(2))
    for number, task in enumerate(strategy.tasks):
        indicators = torch.exp(-torch.tensor([first[task], second[task]]))
        assert float(strategy.kpi[number]) == pytest.approx(float(indicators.mean()), rel=1e-5)


def test_jacobian_heads_get_their_own_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    for memory in (torch.contiguous_format, torch.channels_last):
        net = network().to(memory_format=memory)
        strategy = started(PCGrad, net, make_run())
        batch = batches(1)[0]
        state = copy.deepcopy(net.state_dict())
        monkeypatch.setattr(strategy, "weights", lambda gramian, losses: torch.ones(len(losses), dtype=torch.float64))
        strategy.step(batch)
        ours = {name: weight.grad.clone() for name, weight in net.named_parameters() if weight.grad is not None}
        net.load_state_dict(state)
        net.zero_grad()
        torch.stack(list(net.losses(batch).values())).sum().backward()
        for name, weight in net.named_parameters():
            torch.testing.assert_close(ours[name], weight.grad, rtol=1e-4, atol=1e-6)
            assert ours[name].stride() == weight.stride()


def test_gramian_is_of_the_tasks_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(TwoBranches)
    strategy = started(MGDA, net, make_run())
    seen: list[Tensor] = []
    weights = strategy.weights

    def watched(gramian: Tensor, losses: TaskLosses) -> Tensor:
        seen.append(gramian)
        coefficients: Tensor = weights(gramian, losses)
        return coefficients

    monkeypatch.setattr(strategy, "weights", watched)
    batch, state = batches(1)[0], copy.deepcopy(net.state_dict())
    strategy.step(batch)
    net.load_state_dict(state)
    losses = net.losses(batch)
    shared, rows = net.shared_parameters(), []
    for task in sorted(losses):
        gradients = torch.autograd.grad(losses[task], shared, retain_graph=True, materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    matrix = torch.stack(rows).double()
    torch.testing.assert_close(seen[0], matrix @ matrix.T, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("strategy_name", ["pcgrad", "mgda", "graddrop"])
def test_strategies_without_shared_weights_train_plainly(strategy_name: str) -> None:
    """With a single task nothing is shared, whatever the architecture says."""
    ours, plain = network(tasks=TASKS[:1]), network(tasks=TASKS[:1])
    make(strategy_name, ours, make_run()).step(batches(1)[0])
    make("equal", plain, make_run()).step(batches(1)[0])
    assert same(snapshot(ours), snapshot(plain), 1e-6)


def test_pieces_of_a_batch_are_the_batch() -> None:
    (batch,) = batches(1, size=7)
    several = replace(
        batch, rows={"colour": torch.tensor([0, 3, 6]), "shape": torch.tensor([1, 2]), "kind": torch.arange(7)}
    )
    pieces = several.pieces(3)
    assert [len(piece) for piece in pieces] == [2, 2, 3]
    assert torch.equal(torch.cat([piece.image for piece in pieces]), batch.image)
    assert torch.equal(torch.cat([piece.index for piece in pieces]), batch.index)
    for task in batch.targets:
        assert torch.equal(torch.cat([piece.target(task) for piece in pieces]), several.target(task))
    assert len(batch.pieces(100)) == 3  # two images at least, for BatchNorm


@pytest.mark.parametrize("strategy_name", ["equal", "pcgrad"])
def test_accumulation_updates_running_statistics_once_per_piece(strategy_name: str) -> None:
    net, run = network(), make_run()
    run.micro_batches = 2
    strategy = make(strategy_name, net, run)
    expected = network()
    (batch,) = batches(1, size=6)
    for piece in batch.pieces(2):
        expected.losses(piece)
    strategy.step(batch)
    buffers = dict(expected.named_buffers())
    for key, value in net.named_buffers():
        if "running" in key:
            torch.testing.assert_close(value, buffers[key])


def test_gradnorm_leaves_tasks_alone_that_do_not_reach_the_shared_layer() -> None:
    strategy = started(GradNorm, network(), make_run())
    rows, losses = torch.arange(3), torch.tensor([1.0, 2.0, 3.0])
    for norms in (torch.tensor([0.0, 1e-9, 0.6]), torch.zeros(3)):
        strategy.balance(rows, norms, losses)
        assert torch.equal(strategy.weight, torch.ones(3))
    strategy.balance(rows, torch.tensor([0.2, 0.0, 0.6]), losses)
    assert strategy.weight[0] != strategy.weight[2] and strategy.weight.sum() == pytest.approx(3)


def test_nash_mtl_solves_anew_for_a_task_that_was_not_in_the_last_solution() -> None:
    skip_without_packages("nash_mtl")
    strategy = started(NashMTL, network(), make_run(), update_every=50)
    gramian = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
    two = {NAMES[0]: torch.ones(()), NAMES[2]: torch.ones(())}
    strategy.weights(gramian[[0, 2]][:, [0, 2]], two)
    assert strategy.solved.tolist() == [True, False, True]
    strategy.weights(gramian, dict.fromkeys(NAMES, torch.ones(())))
    assert strategy.solved.all()
    # At the solution α_t ‖g_t‖² = 1 / α_t for gradients at right angles.
    assert strategy.alpha.tolist() == pytest.approx([1.0, 0.5, 1 / 3], rel=0.05)


def test_values_out_of_bounds_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"mtan\+dtp: smoothing = 0 is out of range: expected 0 < smoothing <= 1"):
        DTP.configure({"smoothing": 0}, "mtan+dtp")
