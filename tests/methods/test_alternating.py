"""Alternating steps: the authors' trajectories, and what the method promises."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import OptimizerSpec
from mtlbench.tasks import Depth
from tests.methods.strategy_toys import GOLDEN, TASKS, Plain, batches, make, make_run, network, snapshot, train

FILE = np.load(GOLDEN / "alternating.npz")
NAMES = [f"t{number}" for number in range(4)]
ADAM = OptimizerSpec("adam", lr=1e-3, schedule="constant")
SGD = OptimizerSpec("sgd", lr=0.1, momentum=0.0, schedule="constant")


def tensor(key: str) -> Tensor:
    return torch.from_numpy(np.array(FILE[key]))


def stored(kind: str, scale: dict[str, float] | None = None) -> Plain:
    """The stored network: a trunk (an MLP or a CNN without running statistics) and four logits."""
    if kind == "mlp":
        trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    else:
        first, second = (nn.BatchNorm2d(width, track_running_stats=False) for width in (5, 8))
        convolutions = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in ((3, 5), (5, 8))]
        pools = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        trunk = nn.Sequential(
            convolutions[0], first, nn.ReLU(), pools[0], convolutions[1], second, nn.ReLU(), pools[1], nn.Flatten()
        )
    trunk.double().load_state_dict({str(name): tensor(f"{kind}/trunk0/{name}") for name in FILE[f"{kind}/trunk_names"]})
    heads = nn.ModuleDict({name: nn.Linear(8, 1).double() for name in NAMES})
    for number, head in enumerate(heads.values()):
        head.weight.data = tensor(f"{kind}/head_w0")[number : number + 1]
        head.bias.data = tensor(f"{kind}/head_b0")[number : number + 1]

    def losses_of(batch: tuple[Tensor, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        x, y = batch
        if not tasks:
            return {}
        h, labels = built.shared(x), dict(zip(NAMES, y.T, strict=True))
        return {
            t: (scale or {}).get(t, 1.0) * F.binary_cross_entropy_with_logits(built.heads[t](h)[:, 0], labels[t])
            for t in tasks
        }

    built = Plain(trunk, heads, losses_of)
    return built


def data(kind: str = "mlp") -> list[Any]:
    return list(zip(tensor(f"{kind}/x"), tensor(f"{kind}/y").double(), strict=True))


def alternating(net: Plain, spec: OptimizerSpec, groups: Any = (0, 1, 2, 3), **hypers: Any) -> Any:
    """The strategy with given groups, taken up as from a checkpoint."""
    strategy = make("alternating", net, make_run(spec=spec), **hypers)
    strategy.load_state_dict(
        {"group_of_task": torch.as_tensor(np.array(groups), dtype=torch.int64), "epochs": torch.tensor(0)}
    )
    strategy.start()
    return strategy


def trunk(net: Plain) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in net.shared.parameters()])


VARIANTS = [
    ("mlp", size, optimizer, variant) for size in (1, 2) for optimizer in ("adam", "sgd") for variant in ("IUS", "IO")
]
VARIANTS += [("mlp", 4, "adam", "SUS"), ("mlp", 4, "sgd", "SUS"), ("cnn", 2, "adam", "IUS"), ("cnn", 2, "adam", "IO")]


@pytest.mark.parametrize(("kind", "size", "optimizer", "variant"), VARIANTS)
def test_golden_trajectory(kind: str, size: int, optimizer: str, variant: str) -> None:
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
    strategy.advance = lambda name="weights": (advance(name), inner.append(trunk(net)))[0]
    for number, batch in enumerate(data(kind)):
        losses = strategy.step(batch)
        after = number + 1
        np.testing.assert_allclose(trunk(net), FILE[f"{key}/trunk"][after], rtol=1e-9, atol=1e-9)
        heads = net.heads.values()
        np.testing.assert_allclose(
            torch.cat([head.weight.detach() for head in heads]), FILE[f"{key}/head_w"][after], rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(
            torch.cat([head.bias.detach() for head in heads]), FILE[f"{key}/head_b"][after], rtol=1e-9, atol=1e-9
        )
        by_group = [sum(float(losses[task]) for task in group) for group in strategy.members]
        np.testing.assert_allclose(by_group, FILE[f"{key}/group_losses_before_step"][number], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        torch.stack(inner[: strategy.updates_per_step()]), FILE[f"{key}/trunk_inner_steps_batch0"], rtol=1e-9, atol=1e-9
    )


def run_variant(spec: OptimizerSpec, count: int = 5, scale: dict[str, float] | None = None, **hypers: Any) -> Plain:
    net = stored("mlp", scale)
    strategy = alternating(net, spec, hypers.pop("groups", (0, 1, 2, 3)), **hypers)
    for batch in data()[:count]:
        strategy.step(batch)
    return net


def plain(spec: OptimizerSpec, count: int = 5, scale: dict[str, float] | None = None) -> Plain:
    net = stored("mlp", scale)
    strategy = make("equal", net, make_run(spec=spec))
    for batch in data()[:count]:
        strategy.step(batch)
    return net


def distance(one: Plain, other: Plain) -> float:
    return float((trunk(one) - trunk(other)).norm())


def test_one_group_is_plain_training_to_the_bit() -> None:
    reference = snapshot(plain(ADAM))
    for state in ("shared", "per_group"):
        ours = snapshot(run_variant(ADAM, groups=(0, 0, 0, 0), group_size=4, state=state))
        assert all(torch.equal(ours[name], weight) for name, weight in reference.items())


def test_update_counts() -> None:
    """Shared weights are updated once a group, heads once; an optimizer of its own counts its own batches."""
    for state, counted in (("per_group", 5), ("shared", 20)):
        net = stored("mlp")
        strategy = alternating(net, ADAM, state=state)
        for batch in data()[:5]:
            strategy.step(batch)
        shared = next(net.shared.parameters())
        assert strategy.updates_per_step() == 4
        assert len(strategy.optimizers) == (4 if state == "per_group" else 1)
        assert all(int(one.state[shared]["step"]) == counted for one in strategy.optimizers.values())
        for number, name in enumerate(NAMES):
            owner = strategy.optimizers[f"group{number}" if state == "per_group" else "weights"]
            assert int(owner.state[net.heads[name].weight]["step"]) == 5


def test_an_optimizer_owns_the_shared_weights_and_its_own_heads() -> None:
    net = stored("mlp")
    strategy = alternating(net, ADAM, (0, 1, 1, 0), group_size=2)
    for number, tasks in enumerate((("t0", "t3"), ("t1", "t2"))):
        owned = {id(weight) for group in strategy.optimizers[f"group{number}"].param_groups for weight in group["params"]}
        assert owned == {id(weight) for weight in net.parameters_of(tasks)}


def test_a_step_leaves_other_groups_moments_alone() -> None:
    net = stored("mlp")
    strategy = alternating(net, ADAM)
    strategy.step(data()[0])
    before = copy.deepcopy(strategy.optimizers["group1"].state_dict()["state"])
    start = trunk(net)
    strategy.descend(strategy.losses(data()[1], ["t0"]), "group0")
    after = strategy.optimizers["group1"].state_dict()["state"]
    assert not torch.equal(trunk(net), start)
    assert all(torch.equal(after[at][key], before[at][key]) for at in before for key in before[at])


@pytest.mark.parametrize("state", ["per_group", "shared"])
def test_a_foreign_step_never_moves_a_head(state: str) -> None:
    """Not even with momentum and weight decay."""
    net = stored("mlp")
    strategy = alternating(net, OptimizerSpec("adam", lr=1e-2, weight_decay=1e-2), state=state)
    strategy.step(data()[0])
    before = snapshot(net.heads)
    strategy.descend(strategy.losses(data()[1], ["t0"]), strategy.optimizer_of(0))
    moved = {name.split(".")[0] for name, weight in snapshot(net.heads).items() if not torch.equal(weight, before[name])}
    assert moved == {"t0"}


def test_scaling_a_loss_changes_nothing_with_individual_adams() -> None:
    scale = {"t1": 1000.0}
    assert distance(run_variant(ADAM), run_variant(ADAM, scale=scale)) < 1e-6
    assert distance(run_variant(ADAM, state="shared"), run_variant(ADAM, scale=scale, state="shared")) > 1e-4
    assert distance(plain(ADAM), plain(ADAM, scale=scale)) > 1e-4


def test_equals_plain_sgd_to_first_order() -> None:
    """The distance to a plain step, and between two orders, is of second order in the learning rate."""
    for ours in ({}, {"groups": (3, 2, 1, 0)}):
        ratios = []
        for lr in (1e-2, 5e-3, 2.5e-3):
            spec = OptimizerSpec("sgd", lr=lr, momentum=0.0)
            other = run_variant(spec, 1) if ours else plain(spec, 1)
            ratios.append(distance(run_variant(spec, 1, **ours), other) / lr**2)
        assert ratios[0] > 1e-6
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-2)


def test_individual_optimizers_differ_by_their_state_alone() -> None:
    assert distance(run_variant(SGD), run_variant(SGD, state="shared")) == 0
    momentum = OptimizerSpec("sgd", lr=0.1, momentum=0.9)
    assert distance(run_variant(momentum), run_variant(momentum, state="shared")) > 1e-4


def test_first_adam_step_is_bounded_by_groups_times_lr() -> None:
    start = trunk(stored("mlp"))
    moved = {
        state: float((trunk(run_variant(ADAM, 1, state=state)) - start).abs().max()) for state in ("per_group", "shared")
    }
    assert 3.9 < moved["per_group"] / ADAM.lr <= 4.0 + 1e-9
    assert 1.0 < moved["shared"] / ADAM.lr <= 4.0
    assert float((trunk(plain(ADAM, 1)) - start).abs().max()) / ADAM.lr == pytest.approx(1.0, abs=1e-3)


def test_decoupled_decay_acts_once_a_group() -> None:
    net = stored("mlp", dict.fromkeys(NAMES, 0.0))
    before = trunk(net)
    strategy = alternating(net, OptimizerSpec("adamw", lr=1e-2, weight_decay=0.1))
    strategy.step(data()[0])
    torch.testing.assert_close(trunk(net), before * (1 - 1e-3) ** 4)


def test_batch_statistics_are_updated_once_a_group_and_work_is_counted_so() -> None:
    net = network()
    strategy = make("alternating", net, make_run())
    runs = {"trunk": 0, "heads": 0}
    net.graph.register_forward_hook(lambda *_: runs.__setitem__("trunk", runs["trunk"] + 1))
    for head in net.heads.values():
        head.register_forward_hook(lambda *_: runs.__setitem__("heads", runs["heads"] + 1))
    strategy.step(batches(1)[0])
    assert runs == {"trunk": 3, "heads": 3}
    tracked = [value for name, value in net.graph.state_dict().items() if name.endswith("num_batches_tracked")]
    assert tracked and all(int(value) == 3 for value in tracked)


def test_clipping_is_per_step() -> None:
    spec = OptimizerSpec("sgd", lr=1.0, momentum=0.0, clip=1e-3)
    net = stored("mlp")
    strategy = alternating(net, spec)
    start = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    strategy.step(data()[0])
    moved = float((torch.cat([weight.detach().flatten() for weight in net.parameters()]) - start).norm())
    assert 1e-3 < moved <= 4e-3 + 1e-9


class TestGroups:
    tasks = tuple(Depth(f"task{number}") for number in range(7))

    def strategy(self, seed: int = 0, tasks: Sequence[Depth] | None = None, **hypers: Any) -> Any:
        heads = nn.ModuleDict({task.name: nn.Linear(2, 1) for task in tasks or self.tasks})
        net = Plain(nn.Linear(2, 2), heads, lambda batch, names: {t: heads[t](net.shared(batch)).mean() for t in names})
        return make("alternating", net, make_run(seed), **hypers)

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
            (drawn,) = self.strategy(*args, group_size=3, **kwargs).artefacts()["task_groups"]
            return {frozenset(group) for group in drawn["groups"]}

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
        strategy = self.strategy(group_size=3, regroup=1)
        strategy.change_groups(torch.tensor([0, 0, 0, 1, 1, 1, 2]))
        for _ in range(4):
            strategy.step(torch.randn(4, 2))
        shared = strategy.network.shared.weight
        head = strategy.network.heads["task3"].weight
        average = [one.state[shared]["exp_avg"].clone() for one in strategy.optimizers.values()]
        head_average = strategy.optimizers["group1"].state[head]["exp_avg"].clone()
        # task3 joins task0 and task1 (most in common with the first group), task2 the second group; the third stays.
        strategy.change_groups(torch.tensor([0, 0, 1, 0, 1, 1, 2]))
        for optimizer, before in zip(strategy.optimizers.values(), average, strict=True):
            assert torch.equal(optimizer.state[shared]["exp_avg"], before)
        assert torch.equal(strategy.optimizers["group0"].state[head]["exp_avg"], head_average)
        assert head not in strategy.optimizers["group1"].state
        strategy.step(torch.randn(4, 2))

    def test_two_heirs_of_one_group_do_not_share_memory(self) -> None:
        strategy = self.strategy(group_size=3, regroup=1)
        strategy.change_groups(torch.tensor([0, 0, 0, 1, 1, 1, 2]))
        strategy.step(torch.randn(4, 2))
        strategy.change_groups(torch.tensor([0, 1, 2, 0, 0, 1, 1]))
        shared = strategy.network.shared.weight
        pointers = {one.state[shared]["exp_avg"].data_ptr() for one in strategy.optimizers.values()}
        assert len(pointers) == 3


def test_shuffled_order_is_of_the_seed_and_the_epoch() -> None:
    def orders(seed: int) -> list[list[int]]:
        strategy = make("alternating", stored("mlp"), make_run(seed, spec=ADAM), order="shuffled")
        return [strategy.sequence() for _ in range(6)]

    assert orders(0) == orders(0) != orders(1)
    assert len({tuple(order) for order in orders(0)}) > 1
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders(0))


def test_same_point_takes_every_gradient_before_any_step() -> None:
    """With plain SGD that is plain training; with Adams of their own it differs from taking turns in second order."""
    assert distance(run_variant(SGD, same_point=True), plain(SGD)) < 1e-12
    ratios = []
    for lr in (1e-3, 5e-4, 2.5e-4):
        spec = OptimizerSpec("adam", lr=lr)
        ratios.append(distance(run_variant(spec), run_variant(spec, same_point=True)) / lr**2)
    np.testing.assert_allclose(ratios, ratios[-1], rtol=0.15)
    heads = run_variant(ADAM, 1, same_point=True).heads, plain(ADAM, 1).heads
    for one, other in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("same_point", [False, True])
def test_groups_without_labels_make_no_step(same_point: bool) -> None:
    first, second, third = batches(3, {1: ["shape"], 2: [task.name for task in TASKS]})
    net = network()
    strategy = make("alternating", net, make_run(), same_point=same_point)
    strategy.step(first)
    count = lambda: [int(next(iter(one.state.values()))["step"]) for one in strategy.optimizers.values()]  # noqa: E731
    assert set(strategy.step(second)) == {"colour", "kind"}
    assert count() == [2, 1, 2]
    before = snapshot(net)
    assert strategy.step(third) == {}
    assert all(torch.equal(weight, before[name]) for name, weight in snapshot(net).items())


@pytest.mark.parametrize("hypers", [{"order": "shuffled"}, {"group_size": 2, "regroup": 1}, {"state": "shared"}])
def test_resumes_exactly(hypers: dict[str, Any]) -> None:
    whole_net, whole_run = network(), make_run()
    whole = make("alternating", whole_net, whole_run, **hypers)
    train(whole, batches(2), epochs=2)
    saved = copy.deepcopy((whole_net.state_dict(), whole.state_dict()))
    optimizers = {name: copy.deepcopy(one.state_dict()) for name, one in whole.optimizers.items()}
    train(whole, batches(2, seed=1), epochs=2)

    net, run = network(), make_run()
    cls = type(whole)
    resumed = cls(net, run, cls.configure(hypers, "alternating"))
    net.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    run.epoch = 2
    resumed.start()
    for name, state in optimizers.items():
        resumed.optimizers[name].load_state_dict(state)
    train(resumed, batches(2, seed=1), epochs=2)
    ours = snapshot(net)
    assert all(torch.equal(ours[name], weight) for name, weight in snapshot(whole_net).items())
