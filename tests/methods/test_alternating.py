"""Alternating steps: the authors' trajectories, and what the method promises."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import OptimizerSpec, TaskLosses
from mtlbench.methods.alternating import Alternating
from mtlbench.tasks import Depth
from tests.methods.alternating_network import (
    ADAM,
    FILE,
    KINDS,
    SGD,
    LogitNetwork,
    alternating,
    random_batches,
    random_network,
    stored,
    stored_batches,
    stored_sizes,
)
from tests.tiny_methods import (
    TASKS,
    Plain,
    batches,
    graph_of,
    make,
    make_run,
    network,
    snapshot,
    started,
    train,
)

EXACT = 1e-9
"""Absolute and relative; what the authors' float64 trajectories are known to."""


def trajectories() -> Iterator[tuple[str, int, str, str]]:
    """(network, group size, optimizer, variant) of what is stored: SUS, IUS, IO.

    The variant "IUS_zerofill" is that of the authors' old torch, which steps heads without gradients.
    """
    for kind in KINDS:
        for size in stored_sizes(kind):
            for optimizer in ("adam", "sgd"):
                for variant in ("SUS", "IUS", "IO"):
                    if f"{kind}/size{size}/{optimizer}/{variant}/trunk" in FILE.files:
                        yield kind, size, optimizer, variant


def test_trajectories_of_every_variant_are_stored() -> None:
    assert {(optimizer, variant) for _, _, optimizer, variant in trajectories()} == {
        (optimizer, variant) for optimizer in ("adam", "sgd") for variant in ("SUS", "IUS", "IO")
    }


@pytest.mark.parametrize(("kind", "size", "optimizer", "variant"), trajectories())
def test_golden_trajectory(kind: str, size: int, optimizer: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"{kind}/size{size}/{optimizer}/{variant}"
    net = stored(kind)
    strategy = alternating(
        net,
        {"adam": ADAM, "sgd": SGD}[optimizer],
        FILE[f"{kind}/size{size}/group_of_task"],
        group_size=size,
        state="per_group" if variant == "IO" else "shared",
    )
    inner: list[Tensor] = []
    advance = strategy.advance

    def watched(name: str = "weights") -> None:
        advance(name)
        inner.append(net.trunk_weights())

    def close(values: Any, expected: Any) -> None:
        np.testing.assert_allclose(values, expected, rtol=EXACT, atol=EXACT)

    monkeypatch.setattr(strategy, "advance", watched)
    for number, batch in enumerate(stored_batches(kind)):
        losses = strategy.step(batch)
        weights, biases = net.head_weights()
        close(net.trunk_weights(), FILE[f"{key}/trunk"][number + 1])
        close(weights, FILE[f"{key}/head_w"][number + 1])
        close(biases, FILE[f"{key}/head_b"][number + 1])
        by_group = [sum(float(losses[task]) for task in group) for group in strategy.members]
        close(by_group, FILE[f"{key}/group_losses_before_step"][number])
    close(torch.stack(inner[: strategy.updates_per_step()]), FILE[f"{key}/trunk_inner_steps_batch0"])


# -- what must hold -----------------------------------------------------------------------------------------------------

NAMES = list(random_network().tasks)
ONE_GROUP = [0] * len(NAMES)


def trained(
    spec: OptimizerSpec, count: int = 5, scale: Mapping[str, float] | None = None, groups: Any = None, **hypers: Any
) -> LogitNetwork:
    """A random network after some alternating steps."""
    net = random_network(scale)
    strategy = alternating(net, spec, groups, **hypers)
    for batch in random_batches(count):
        strategy.step(batch)
    return net


def plain(spec: OptimizerSpec, count: int = 5, scale: Mapping[str, float] | None = None) -> LogitNetwork:
    """A random network after some plain steps."""
    net = random_network(scale)
    strategy = make("equal", net, make_run(spec=spec))
    for batch in random_batches(count):
        strategy.step(batch)
    return net


def distance(ours: LogitNetwork, theirs: LogitNetwork) -> float:
    return float((ours.trunk_weights() - theirs.trunk_weights()).norm())


def test_one_group_is_plain_training_to_the_bit() -> None:
    reference = snapshot(plain(ADAM))
    for state in ("shared", "per_group"):
        ours = snapshot(trained(ADAM, groups=ONE_GROUP, group_size=len(NAMES), state=state))
        assert all(torch.equal(ours[name], weight) for name, weight in reference.items())


def test_update_counts() -> None:
    """Shared weights are updated once per group, heads once; an optimizer of its own counts its own batches."""
    for state, counted in (("per_group", 5), ("shared", 5 * len(NAMES))):
        net = random_network()
        strategy = alternating(net, ADAM, state=state)
        for batch in random_batches():
            strategy.step(batch)
        shared = net.shared_parameters()[0]
        assert strategy.updates_per_step() == len(NAMES)
        assert len(strategy.optimizers) == (len(NAMES) if state == "per_group" else 1)
        assert all(int(optimizer.state[shared]["step"]) == counted for optimizer in strategy.optimizers.values())
        for number, name in enumerate(NAMES):
            owner = strategy.optimizers[f"group{number}" if state == "per_group" else "weights"]
            assert int(owner.state[net.own_parameters(name)[0]]["step"]) == 5


def test_an_optimizer_owns_the_shared_weights_and_its_own_heads() -> None:
    net = random_network()
    strategy = alternating(net, ADAM, (0, 1, 1, 0), group_size=2)
    for number, tasks in enumerate((("t0", "t3"), ("t1", "t2"))):
        owned = {id(weight) for group in strategy.optimizers[f"group{number}"].param_groups for weight in group["params"]}
        assert owned == {id(weight) for weight in net.parameters_of(tasks)}


def test_a_step_leaves_other_groups_moments_alone() -> None:
    net, (first, second) = random_network(), random_batches(2)
    strategy = alternating(net, ADAM)
    strategy.step(first)
    before = copy.deepcopy(strategy.optimizers["group1"].state_dict()["state"])
    start = net.trunk_weights()
    strategy.descend(strategy.losses(second, ["t0"]), "group0")
    after = strategy.optimizers["group1"].state_dict()["state"]
    assert not torch.equal(net.trunk_weights(), start)
    assert all(torch.equal(after[number][key], before[number][key]) for number in before for key in before[number])


@pytest.mark.parametrize("state", ["per_group", "shared"])
def test_a_foreign_step_never_moves_a_head(state: str) -> None:
    """Not even with momentum and weight decay."""
    net, (first, second) = random_network(), random_batches(2)
    strategy = alternating(net, OptimizerSpec("adam", lr=1e-2, weight_decay=1e-2), state=state)
    strategy.step(first)
    before = snapshot(net.heads)
    strategy.descend(strategy.losses(second, ["t0"]), strategy.optimizer_of(0))
    moved = {name.split(".")[0] for name, weight in snapshot(net.heads).items() if not torch.equal(weight, before[name])}
    assert moved == {"t0"}


def test_scaling_a_loss_changes_nothing_with_individual_adams() -> None:
    scale = {"t1": 1000.0}
    assert distance(trained(ADAM), trained(ADAM, scale=scale)) < 1e-6
    assert distance(trained(ADAM, state="shared"), trained(ADAM, scale=scale, state="shared")) > 1e-4
    assert distance(plain(ADAM), plain(ADAM, scale=scale)) > 1e-4


@pytest.mark.parametrize("backwards", [False, True])
def test_equals_plain_sgd_to_first_order(backwards: bool) -> None:
    """The distance to a plain step, and between two orders, is of second order in the learning rate."""
    ratios = []
    for lr in (1e-2, 5e-3, 2.5e-3):
        spec = OptimizerSpec("sgd", lr=lr, momentum=0.0)
        other = trained(spec, 1) if backwards else plain(spec, 1)
        ours = trained(spec, 1, groups=range(len(NAMES))[::-1] if backwards else None)
        ratios.append(distance(ours, other) / lr**2)
    assert ratios[0] > 1e-6
    np.testing.assert_allclose(ratios, ratios[0], rtol=2e-2)


def test_individual_optimizers_differ_by_their_state_alone() -> None:
    assert distance(trained(SGD), trained(SGD, state="shared")) == 0
    momentum = OptimizerSpec("sgd", lr=0.1, momentum=0.9)
    assert distance(trained(momentum), trained(momentum, state="shared")) > 1e-4


def test_first_adam_step_is_bounded_by_groups_times_lr() -> None:
    start, groups = random_network().trunk_weights(), len(NAMES)
    moved = {
        state: float((trained(ADAM, 1, state=state).trunk_weights() - start).abs().max()) / ADAM.lr
        for state in ("per_group", "shared")
    }
    assert groups - 0.1 < moved["per_group"] <= groups + 1e-9
    assert 1.0 < moved["shared"] <= groups
    assert float((plain(ADAM, 1).trunk_weights() - start).abs().max()) / ADAM.lr == pytest.approx(1.0, abs=1e-3)


def test_decoupled_decay_acts_once_per_group() -> None:
    net = random_network(dict.fromkeys(NAMES, 0.0))
    before = net.trunk_weights()
    strategy = alternating(net, OptimizerSpec("adamw", lr=1e-2, weight_decay=0.1))
    strategy.step(random_batches(1)[0])
    torch.testing.assert_close(net.trunk_weights(), before * (1 - 1e-3) ** len(NAMES))


def test_batch_statistics_are_updated_once_per_group_and_work_is_counted_so() -> None:
    net = network()
    strategy = make("alternating", net, make_run())
    runs = {"trunk": 0, "heads": 0}

    def count(part: str) -> Any:
        def hook(*_: object) -> None:
            runs[part] += 1

        return hook

    graph_of(net).register_forward_hook(count("trunk"))
    for head in net.heads.values():
        head.register_forward_hook(count("heads"))
    strategy.step(batches(1)[0])
    assert runs == {"trunk": 3, "heads": 3}
    tracked = [value for name, value in graph_of(net).state_dict().items() if name.endswith("num_batches_tracked")]
    assert tracked and all(int(value) == 3 for value in tracked)


def test_clipping_is_per_step() -> None:
    spec = OptimizerSpec("sgd", lr=1.0, momentum=0.0, clip=1e-3)
    net = random_network()
    strategy = alternating(net, spec)
    start = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    strategy.step(random_batches(1)[0])
    moved = float((torch.cat([weight.detach().flatten() for weight in net.parameters()]) - start).norm())
    assert 1e-3 < moved <= 1e-3 * len(NAMES) + 1e-9


class TestGroups:
    tasks = tuple(Depth(f"task{number}") for number in range(7))

    def strategy(self, seed: int = 0, tasks: Sequence[Depth] | None = None, **hypers: Any) -> Alternating:
        heads = {task.name: nn.Linear(2, 1) for task in tasks or self.tasks}

        def losses_of(batch: Tensor, names: Sequence[str]) -> TaskLosses:
            return {name: heads[name](net.shared(batch)).mean() for name in names}

        net = Plain(nn.Linear(2, 2), heads, losses_of)
        return started(Alternating, net, make_run(seed), **hypers)

    def regrouped(self, groups: Sequence[int], steps: int) -> Alternating:
        """A strategy that draws new groups, after some steps with given ones."""
        strategy = self.strategy(group_size=3, regroup=1)
        strategy.change_groups(torch.tensor(groups))
        for _ in range(steps):
            strategy.step(torch.randn(4, 2))  # type: ignore[arg-type]  # these networks' batches are tensors
        return strategy

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
    def test_are_a_partition_of_the_asked_sizes(self, size: int) -> None:
        (drawing,) = self.strategy(group_size=size).artefacts()["task_groups"]
        groups = drawing["groups"]
        assert drawing["from_epoch"] == 0
        assert sorted(task for group in groups for task in group) == sorted(task.name for task in self.tasks)
        assert all(len(group) == size for group in groups[:-1])
        assert 1 <= len(groups[-1]) <= size
        if size == 1:
            assert groups == [[task.name] for task in self.tasks]

    def test_follow_from_the_seed_and_the_names(self) -> None:
        def groups(*args: Any, **kwargs: Any) -> set[frozenset[str]]:
            (drawing,) = self.strategy(*args, group_size=3, **kwargs).artefacts()["task_groups"]
            return {frozenset(group) for group in drawing["groups"]}

        assert groups(0) == groups(0) == groups(0, tasks=self.tasks[::-1])
        assert len({frozenset(groups(seed)) for seed in range(6)}) > 1

    def test_stay_unless_asked(self) -> None:
        strategy = self.strategy(group_size=3)
        before = strategy.artefacts()
        for _ in range(5):
            strategy.end_epoch({})
        assert strategy.artefacts() == before

    def test_are_drawn_anew_every_so_many_epochs(self) -> None:
        strategy = self.strategy(group_size=3, regroup=2)
        for trained in range(9):
            drawings = strategy.artefacts()["task_groups"]
            assert [drawing["from_epoch"] for drawing in drawings] == list(range(0, max(1, trained), 2))
            if trained % 2:
                # What is trained with now is the last one; what is drawn for epochs to come is not told.
                assert drawings[-1]["groups"] == [list(group) for group in strategy.groups_of_tasks()]
            strategy.end_epoch({})
        assert len({str(drawing["groups"]) for drawing in drawings}) > 1

    def test_state_follows_the_tasks(self) -> None:
        strategy = self.regrouped([0, 0, 0, 1, 1, 1, 2], steps=4)
        shared = strategy.network.shared_parameters()[0]
        head = strategy.network.own_parameters("task3")[0]
        average = [optimizer.state[shared]["exp_avg"].clone() for optimizer in strategy.optimizers.values()]
        head_average = strategy.optimizers["group1"].state[head]["exp_avg"].clone()
        # task3 joins task0 and task1 (most in common with the first group), task2 the second group; the third stays.
        strategy.change_groups(torch.tensor([0, 0, 1, 0, 1, 1, 2]))
        for optimizer, before in zip(strategy.optimizers.values(), average, strict=True):
            assert torch.equal(optimizer.state[shared]["exp_avg"], before)
        assert torch.equal(strategy.optimizers["group0"].state[head]["exp_avg"], head_average)
        assert head not in strategy.optimizers["group1"].state
        strategy.step(torch.randn(4, 2))  # type: ignore[arg-type]

    def test_two_heirs_of_one_group_do_not_share_memory(self) -> None:
        strategy = self.regrouped([0, 0, 0, 1, 1, 1, 2], steps=1)
        strategy.change_groups(torch.tensor([0, 1, 2, 0, 0, 1, 1]))
        shared = strategy.network.shared_parameters()[0]
        pointers = {optimizer.state[shared]["exp_avg"].data_ptr() for optimizer in strategy.optimizers.values()}
        assert len(pointers) == 3


def test_shuffled_order_is_of_the_seed_and_the_epoch() -> None:
    def orders(seed: int) -> list[list[int]]:
        strategy = alternating(random_network(), ADAM, seed=seed, order="shuffled")
        return [strategy.sequence() for _ in range(6)]

    assert orders(0) == orders(0) != orders(1)
    assert len({tuple(order) for order in orders(0)}) > 1
    assert all(sorted(order) == list(range(len(NAMES))) for order in orders(0))


def test_same_point_takes_every_gradient_before_any_step() -> None:
    """With plain SGD that is plain training; with Adams of their own it differs from taking turns in second order."""
    assert distance(trained(SGD, same_point=True), plain(SGD)) < 1e-12
    ratios = []
    for lr in (1e-3, 5e-4, 2.5e-4):
        spec = OptimizerSpec("adam", lr=lr)
        ratios.append(distance(trained(spec), trained(spec, same_point=True)) / lr**2)
    np.testing.assert_allclose(ratios, ratios[-1], rtol=0.15)
    ours, theirs = trained(ADAM, 1, same_point=True).heads, plain(ADAM, 1).heads
    for own, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("same_point", [False, True])
def test_groups_without_labels_make_no_step(same_point: bool) -> None:
    first, second, third = batches(3, {1: ["shape"], 2: [task.name for task in TASKS]})
    net = network()
    strategy = make("alternating", net, make_run(), same_point=same_point)
    strategy.step(first)
    assert set(strategy.step(second)) == {"colour", "kind"}
    steps = [int(next(iter(optimizer.state.values()))["step"]) for optimizer in strategy.optimizers.values()]
    assert steps == [2, 1, 2]
    before = snapshot(net)
    assert strategy.step(third) == {}
    assert all(torch.equal(weight, before[name]) for name, weight in snapshot(net).items())


@pytest.mark.parametrize("hypers", [{"order": "shuffled"}, {"group_size": 2, "regroup": 1}, {"state": "shared"}])
def test_resumes_exactly(hypers: dict[str, Any]) -> None:
    whole_net, whole_run = network(), make_run()
    whole = started(Alternating, whole_net, whole_run, **hypers)
    train(whole, batches(2), epochs=2)
    saved = copy.deepcopy((whole_net.state_dict(), whole.state_dict()))
    optimizers = {name: copy.deepcopy(optimizer.state_dict()) for name, optimizer in whole.optimizers.items()}
    train(whole, batches(2, seed=1), epochs=2)

    net, run = network(), make_run()
    resumed = Alternating(net, run, Alternating.configure(hypers, "alternating"))
    net.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    run.epoch = 2
    resumed.start()
    for name, state in optimizers.items():
        resumed.optimizers[name].load_state_dict(state)
    train(resumed, batches(2, seed=1), epochs=2)
    ours = snapshot(net)
    assert all(torch.equal(ours[name], weight) for name, weight in snapshot(whole_net).items())
