"""Every strategy on every architecture: what each must do, and what each says of itself."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlbench
from mtlbench.contract import Architecture, JacobianStrategy, OptimizerSpec, Strategy, UserError
from mtlbench.contract.optim import set_lr
from mtlbench.networks.plan import SharingPlan
from mtlbench.networks.sharing import SharingGraph
from mtlbench.tasks import Classification
from tests.methods.strategy_toys import (
    TASKS,
    SignSpec,
    batches,
    make,
    make_run,
    network,
    network_config,
    plugin,
    snapshot,
    train,
    train_phases,
)

METHODS = Path(str(mtlbench.__file__)).parents[1] / "methods"
STRATEGIES = [
    path.stem
    for path in sorted(METHODS.glob("[a-z]*.py"))
    if "(Strategy)" in (t := path.read_text()) or "(JacobianStrategy)" in t
]
ARCHITECTURES = [path.stem for path in sorted(METHODS.glob("[a-z]*.py")) if "(Architecture)" in path.read_text()]
SHARING = ["hard_sharing", "cross_stitch"]
SAME = {frozenset({"equal", "fixed"})}
"""Strategies that are meant to coincide here: the toys' published weights are 1."""


def require(name: str) -> str:
    for module, hint in plugin(name).requires.items():
        if find_spec(module) is None:
            pytest.skip(f"{name} needs {module}: {hint}")
    return name


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    return require(str(request.param))


class Branched(Architecture):
    """Parameters of all owners: everyone's stem, a branch of two tasks and one of the third."""

    def build(self) -> None:
        units = self.stage_units()
        table = [[0, 0, 0] if depth < 2 else [0, 0, 1] for depth in range(len(units))]
        plan = SharingPlan(tuple(u.name for u in units), tuple(self.tasks), tuple(tuple(row) for row in table))
        self.graph = SharingGraph(units, plan)


def branched(seed: int = 0) -> Architecture:
    return Branched(network_config(seed=seed), {}).train()


def test_all_are_found() -> None:
    assert {"equal", "fixed", "uncertainty", "dwa", "gradnorm", "rlw", "gls", "famo", "log_loss", "dtp"} <= set(STRATEGIES)
    assert {"mgda", "pcgrad", "graddrop", "gradvac", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad"} <= set(
        STRATEGIES
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_declares_what_it_is(name: str) -> None:
    cls = plugin(name)
    assert cls.invariances <= {"one_task", "task_order", "loss_scale"}
    assert "invariances" in vars(cls), "a strategy says itself what it promises"
    assert all(info.help for info in cls.hypers.values())
    assert cls.__doc__ is not None
    assert cls.needs_sharing or not issubclass(cls, JacobianStrategy)
    assert all("pip install" in hint for hint in cls.requires.values())


@pytest.mark.parametrize("architecture", [*SHARING, "single_task", "branched"])
def test_moves_every_parameter(name: str, architecture: str) -> None:
    if architecture == "single_task" and plugin(name).needs_sharing:
        pytest.skip("declared as meaningless without sharing; refused before anything is built")
    net = branched() if architecture == "branched" else network(architecture)
    before = snapshot(net)
    strategy = make(name, net, make_run())
    for batch in batches(2):
        losses = strategy.step(batch)
        assert list(losses) == ["colour", "shape", "kind"]
        assert all(loss.ndim == 0 and bool(loss.isfinite()) for loss in losses.values())
    after = snapshot(net)
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    still = [name for name, weight in after.items() if torch.equal(weight, before[name])]
    assert not still
    assert strategy.updates_per_step() >= 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["pcgrad", "famo", "gradnorm", "alternating"])
def test_trains_through_every_architectures_phases(name: str, architecture: str) -> None:
    """One strategy of each kind: Jacobian, second forward pass, last shared layer, steps in turn."""
    if not plugin(require(architecture)).shares and plugin(name).needs_sharing:
        pytest.skip("declared as meaningless without sharing")
    net = network(architecture)
    strategy = make(name, net, make_run(epochs=max(8, net.minimum_epochs)))
    train_phases(net, strategy)
    assert all(bool(weight.isfinite().all()) for weight in net.parameters())


@pytest.mark.parametrize("architecture", ["hard_sharing", "branched"])
def test_copes_with_partly_labelled_batches(name: str, architecture: str) -> None:
    """One task without labels, then two, then all: what an absent task owns alone stays; without labels nothing moves."""
    net = branched() if architecture == "branched" else network(architecture)
    strategy = make(name, net, make_run())
    strategy.step(batches(1)[0])
    for absent in (["shape"], ["colour", "kind"], ["kind"]):
        before = snapshot(net)
        losses = strategy.step(batches(1, {0: absent}, seed=1)[0])
        assert set(losses) == {"colour", "shape", "kind"} - set(absent)
        after, owners = snapshot(net), net.owners()
        for key, weight in after.items():
            assert bool(weight.isfinite().all()), key
            assert torch.equal(weight, before[key]) == (owners[key] <= set(absent)), (absent, key)
    before, own = snapshot(net), snapshot(strategy)
    assert strategy.step(batches(1, {0: [task.name for task in TASKS]})[0]) == {}
    assert all(torch.equal(weight, before[key]) for key, weight in snapshot(net).items())
    assert all(torch.equal(weight, own[key]) for key, weight in snapshot(strategy).items())
    strategy.end_epoch({"colour": 1.0, "shape": float("nan")})
    strategy.step(batches(1)[0])


def test_copes_with_a_task_without_gradient(name: str) -> None:
    """Labels that are all invalid give a loss of 0, whose gradient is 0."""
    net = network()
    strategy = make(name, net, make_run())
    batch = batches(1)[0]
    batch.targets["shape"].fill_(-1)
    for _ in range(2):
        strategy.step(batch)
    assert all(bool(weight.isfinite().all()) for weight in net.parameters())


def test_resumes_exactly(name: str) -> None:
    """From its weights, its state and its optimizers' states, at the end of an epoch, to the bit."""
    partly = {1: ["shape"]}
    whole_net, whole_run = network(), make_run()
    whole = make(name, whole_net, whole_run)
    train(whole, batches(2, partly), epochs=2)
    saved = copy.deepcopy((whole_net.state_dict(), whole.state_dict()))
    optimizers = {key: copy.deepcopy(one.state_dict()) for key, one in whole.optimizers.items()}
    train(whole, batches(2, partly, seed=1), epochs=1)

    net, run = network(), make_run()
    cls = plugin(name)
    resumed = cls(net, run, cls.configure({}, name))
    net.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    resumed.start()
    assert list(resumed.optimizers) == list(optimizers)
    for key, state in optimizers.items():
        resumed.optimizers[key].load_state_dict(state)
    run.epoch = 2
    train(resumed, batches(2, partly, seed=1), epochs=1)
    ours = snapshot(net)
    assert all(torch.equal(ours[key], weight) for key, weight in snapshot(whole_net).items())


def test_does_not_use_the_global_random_stream(name: str) -> None:
    """What a strategy draws is the trial's."""
    ends = []
    for seed in (0, 1):
        net = network()
        strategy = make(name, net, make_run())
        torch.manual_seed(seed)
        for batch in batches(2):
            strategy.step(batch)
        ends.append(snapshot(net))
    assert all(torch.equal(ends[1][key], weight) for key, weight in ends[0].items())


def test_no_two_strategies_coincide() -> None:
    """After three epochs of one batch no pair has come to the same weights (nor to a scaled step, under Adam)."""
    ends: dict[str, Tensor] = {}
    for name in STRATEGIES:
        if any(find_spec(module) is None for module in plugin(name).requires):
            continue
        net = network()
        train(make(name, net, make_run(lr=1e-2)), batches(1), epochs=3)
        ends[name] = torch.cat([weight.detach().flatten() for weight in net.shared_parameters()])
    names = list(ends)
    close = {frozenset({a, b}) for a in names for b in names if a < b and float((ends[a] - ends[b]).abs().max()) < 1e-5}
    assert close == {pair for pair in SAME if pair <= set(names)}


# -- invariances, as declared --------------------------------------------------------------------------------------------


def end(name: str, tasks: Any = TASKS, spec: Any = None, scale: dict[str, float] | None = None, epochs: int = 3) -> Any:
    """The network's weights after training."""
    net = network(tasks=tasks)
    for task, factor in (scale or {}).items():
        _scale_loss(net.tasks[task], factor)
    strategy = make(name, net, make_run(spec=spec or OptimizerSpec("sgd", lr=1e-2, momentum=0.0)))
    train(strategy, batches(2), epochs)
    return snapshot(net)


def _scale_loss(task: Any, factor: float) -> None:
    loss = type(task).loss
    task.loss = lambda prediction, target: factor * loss(task, prediction, target)


@pytest.fixture(autouse=True)
def _unscaled() -> Any:
    yield
    for task in TASKS:
        task.__dict__.pop("loss", None)


def same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> bool:
    return all(torch.allclose(one[key], other[key], rtol=tolerance, atol=tolerance) for key in one)


def test_one_task_as_declared(name: str) -> None:
    tasks = (TASKS[0],)
    agrees = same(end(name, tasks), end("equal", tasks), 1e-6)
    assert agrees or "one_task" not in plugin(name).invariances


def test_task_order_as_declared(name: str) -> None:
    agrees = same(end(name, epochs=1), end(name, TASKS[::-1], epochs=1), 1e-5)
    assert agrees == ("task_order" in plugin(name).invariances)


def test_loss_scale_as_declared(name: str) -> None:
    """Under sign descent, which does not care how long a gradient is."""
    if "loss_scale" not in plugin(name).invariances:
        pytest.skip("not promised")
    ends = (end(name, spec=SignSpec(), epochs=1, scale=scale) for scale in ({}, {"shape": 4.0}))
    assert agreement(*ends) > 0.99


def agreement(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The fraction of single weights that are equal: a sign may flip where rounding decides it."""
    equal = [(one[key] - other[key]).abs() < 1e-6 for key in one]
    return sum(float(e.sum()) for e in equal) / sum(e.numel() for e in equal)


# -- single strategies ---------------------------------------------------------------------------------------------------


def test_fixed_uses_published_weights_and_the_users() -> None:
    tasks = (Classification("colour", 3, weight=2.0), *TASKS[1:])
    strategy = make("fixed", network(tasks=tasks), make_run(), weights={"shape": 0.5})
    assert strategy.weight_of == {"colour": 2.0, "shape": 0.5, "kind": 1.0}
    with pytest.raises(UserError, match="speed"):
        make("fixed", network(), make_run(), weights={"speed": 1.0})


def test_dwa_turns_to_the_task_that_stalls() -> None:
    strategy = make("dwa", network(), make_run())
    even = {"colour": 1.0, "shape": 1.0, "kind": 1.0}
    assert strategy.task_weights() == pytest.approx(even)
    strategy.end_epoch({"colour": 2.0, "shape": 2.0, "kind": 2.0})
    assert strategy.task_weights() == pytest.approx(even)
    strategy.end_epoch({"colour": 1.0, "shape": 2.0})
    weights = strategy.task_weights()
    assert weights["shape"] == pytest.approx(weights["kind"])
    assert weights["colour"] < weights["shape"]
    assert sum(weights.values()) == pytest.approx(3.0)


def test_gradnorm_reads_the_last_shared_layer() -> None:
    net = network()
    strategy = make("gradnorm", net, make_run())
    last = next(weight for name, weight in net.named_parameters() if weight is strategy.last_shared[0])
    assert last.ndim == 4 and last.shape[0] == net.stage_channels[-1]
    strategy = make("gradnorm", branched(), make_run())
    assert any(weight is strategy.last_shared[0] for weight in strategy.network.shared_parameters())
    assert float(strategy.weight.sum()) == pytest.approx(3.0)


def test_famo_logits_keep_their_learning_rate() -> None:
    strategy = make("famo", network(), make_run())
    set_lr(strategy.optimizers.values(), 0.1)
    assert strategy.optimizers["logits"].param_groups[0]["lr"] == pytest.approx(0.025)
    assert strategy.optimizers["weights"].param_groups[0]["lr"] == pytest.approx(1e-4)


def test_uncertainty_is_trained_undecayed() -> None:
    strategy = make("uncertainty", network(), make_run(weight_decay=0.1))
    groups = strategy.optimizers["weights"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    strategy.step(batches(1)[0])
    assert all(float(s.detach()) != 0 for s in strategy.parameters())


def test_dtp_weighs_by_the_moving_indicator() -> None:
    strategy = make("dtp", network(), make_run(), smoothing=0.5)
    first, second = batches(2)
    losses = [{task: float(loss.detach()) for task, loss in strategy.step(batch).items()} for batch in (first, second)]
    for number, task in enumerate(strategy.tasks):
        one, other = (torch.exp(torch.tensor(-one[task])) for one in losses)
        assert float(strategy.kpi[number]) == pytest.approx(float((one + other) / 2), rel=1e-5)


def test_jacobian_heads_get_their_own_gradient() -> None:
    for memory in (torch.contiguous_format, torch.channels_last):
        net = network().to(memory_format=memory)
        strategy = make("pcgrad", net, make_run())
        batch = batches(1)[0]
        state = copy.deepcopy(net.state_dict())
        strategy.weights = lambda gramian, losses: torch.ones(len(losses), dtype=torch.float64)
        strategy.step(batch)
        ours = {name: weight.grad.clone() for name, weight in net.named_parameters() if weight.grad is not None}
        net.load_state_dict(state)
        net.zero_grad()
        torch.stack(list(net.losses(batch).values())).sum().backward()
        for name, weight in net.named_parameters():
            torch.testing.assert_close(ours[name], weight.grad, rtol=1e-4, atol=1e-6)
            assert ours[name].stride() == weight.stride()


def test_gramian_is_of_the_tasks_gradients() -> None:
    net = branched()
    strategy = make("mgda", net, make_run())
    seen: list[Tensor] = []
    weights = strategy.weights
    strategy.weights = lambda gramian, losses: (seen.append(gramian), weights(gramian, losses))[1]
    batch, state = batches(1)[0], copy.deepcopy(net.state_dict())
    strategy.step(batch)
    net.load_state_dict(state)
    losses = net.losses(batch)
    shared, rows = net.shared_parameters(), []
    for task in sorted(losses):
        found = torch.autograd.grad(losses[task], shared, retain_graph=True, materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in found]))
    matrix = torch.stack(rows).double()
    torch.testing.assert_close(seen[0], matrix @ matrix.T, rtol=1e-3, atol=1e-6)


def test_strategies_without_shared_weights_train_plainly() -> None:
    """With a single task nothing is shared, whatever the architecture says."""
    for name in ("pcgrad", "mgda", "graddrop"):
        net = network(tasks=TASKS[:1])
        strategy = make(name, net, make_run())
        assert isinstance(strategy, Strategy)
        strategy.step(batches(1)[0])


def test_accumulates_as_if_the_batch_had_passed_whole(name: str) -> None:
    """The same losses and the same step, whatever the strategy does with them; one piece in the network at a time."""
    # In evaluation mode BatchNorm does not see which images pass together.
    whole, pieces = network().eval(), network().eval()
    run = make_run(spec=OptimizerSpec("sgd", lr=0.1, momentum=0.0))
    run.micro_batches = 2
    seen: list[int] = []
    pieces.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    first, second = make(name, whole, make_run(spec=run.optimizer)), make(name, pieces, run)
    for batch in batches(2, {1: ["shape"]}, size=6):
        losses, accumulated = first.step(batch), second.step(batch)
        assert losses.keys() == accumulated.keys()
        for task, loss in losses.items():
            assert accumulated[task].detach() == pytest.approx(float(loss.detach()), rel=1e-4)
    assert set(seen) == {3}
    for key, weight in whole.named_parameters():
        torch.testing.assert_close(weight, dict(pieces.named_parameters())[key], rtol=1e-3, atol=1e-5)


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


@pytest.mark.parametrize("name", ["equal", "pcgrad"])
def test_accumulation_updates_running_statistics_once_a_piece(name: str) -> None:
    require(name)
    net, run = network(), make_run()
    run.micro_batches = 2
    strategy = make(name, net, run)
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
    strategy = make("gradnorm", network(), make_run())
    rows, losses = torch.arange(3), torch.tensor([1.0, 2.0, 3.0])
    for norms in (torch.tensor([0.0, 1e-9, 0.6]), torch.zeros(3)):
        strategy.balance(rows, norms, losses)
        assert torch.equal(strategy.weight, torch.ones(3))
    strategy.balance(rows, torch.tensor([0.2, 0.0, 0.6]), losses)
    assert strategy.weight[0] != strategy.weight[2] and strategy.weight.sum() == pytest.approx(3)


def test_nash_mtl_solves_anew_for_a_task_that_was_not_in_the_last_solution() -> None:
    require("nash_mtl")
    strategy = make("nash_mtl", network(), make_run(), update_every=50)
    gramian = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
    names = [task.name for task in TASKS]
    two = {names[0]: torch.ones(()), names[2]: torch.ones(())}
    strategy.weights(gramian[[0, 2]][:, [0, 2]], two)
    assert strategy.solved.tolist() == [True, False, True]
    strategy.weights(gramian, dict.fromkeys(names, torch.ones(())))
    assert strategy.solved.all()
    # At the solution α_t ‖g_t‖² = 1 / α_t for gradients at right angles.
    assert strategy.alpha.tolist() == pytest.approx([1.0, 0.5, 1 / 3], rel=0.05)
