"""AdaShare's phases, steps and samples, and random plans: what must hold on a tiny network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import Phase, SharingGraph, UserError, set_lr
from mtlbench.measure.cost import count_flops
from mtlbench.methods._shared.select_or_skip import correlation
from mtlbench.methods.adashare import AdaShare
from mtlbench.methods.adashare.multiplying_graph import MultiplyingGraph
from mtlbench.methods.adashare.phases import PolicyLearning
from mtlbench.methods.adashare.schedule import policy_rate
from mtlbench.methods.random_plan import RandomPlan
from mtlbench.tasks import Task
from tests.methods.adashare_network import BLOCKS, graph_of, network, some_policy, start
from tests.tiny_methods import TASKS, batches

NAMES = [task.name for task in TASKS]
BATCH = batches(1)[0]


def policy_learning(phases: list[Phase]) -> PolicyLearning:
    """The phase among AdaShare's."""
    (phase,) = (phase for phase in phases if isinstance(phase, PolicyLearning))
    return phase


def policy_phase(net: AdaShare, **kwargs: Any) -> PolicyLearning:
    """Policy learning, ready for the steps of its first epoch."""
    phase = policy_learning(start(net, **kwargs)[2])
    phase.prepare()
    phase.passes(0)
    return phase


def weights(net: AdaShare) -> dict[str, Tensor]:
    """All parameters but the policies', copied."""
    policies = {id(logits) for logits in net.policies.parameters()}
    return {name: weight.detach().clone() for name, weight in net.named_parameters() if id(weight) not in policies}


def logits(net: AdaShare) -> Tensor:
    """The policies, copied."""
    return torch.stack([own.detach().clone() for own in net.policies.by_task().values()])


# -- steps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gated", [1, 3, BLOCKS])
@pytest.mark.parametrize("kind", ["soft", "straight_through"])
def test_a_policy_step_moves_the_policy_of_gated_blocks_alone(gated: int, kind: str) -> None:
    net = network(sparsity=0.0, sharing=0.0, gates=kind)
    phase = policy_phase(net)
    before = weights(net)
    losses = phase.policy_step(1.0, gated, BATCH)
    assert list(losses) == NAMES
    for own in net.policies.by_task().values():
        assert own.grad is not None
        assert bool((own.grad[-gated:] != 0).all()) and not bool(own.grad[:-gated].any())
        torch.testing.assert_close(own.grad.sum(-1), torch.zeros(BLOCKS), atol=1e-8, rtol=0)
        assert not own.requires_grad
    assert all(torch.equal(before[name], after) for name, after in weights(net).items())
    others = [weight for name, weight in net.named_parameters() if name in before]
    assert all(weight.grad is None and weight.requires_grad for weight in others)


@pytest.mark.parametrize("strategy", ["equal", "pcgrad"])
def test_a_weight_step_trains_the_relaxed_network_with_the_strategy_and_leaves_the_policy(strategy: str) -> None:
    net = network()
    phase = policy_phase(net, strategy=strategy)
    before, policy = weights(net), logits(net)
    gates = []
    handle = graph_of(net).register_forward_hook(lambda *_: gates.append(dict(net.policies.gates)))
    phase.weight_step(1.0, 3, BATCH)
    handle.remove()
    assert [{task: decisions.shape for task, decisions in seen.items()} for seen in gates] == [dict.fromkeys(NAMES, (3, 2))]
    assert torch.equal(policy, logits(net)) and all(own.grad is None for own in net.policies.parameters())
    moved = [name for name, after in weights(net).items() if not torch.equal(before[name], after)]
    assert len(moved) > 0.9 * len(before)
    owned = {id(weight) for group in phase.strategy.optimizers["weights"].param_groups for weight in group["params"]}
    assert not owned & {id(own) for own in net.policies.parameters()}


def test_a_policy_step_costs_no_gradient_of_weights() -> None:
    net = network()
    phase = policy_phase(net)
    weight = count_flops(lambda: phase.weight_step(1.0, 1, BATCH))
    policy = count_flops(lambda: phase.policy_step(1.0, 1, BATCH))
    assert policy < 0.8 * weight


def test_the_first_gated_block_is_computed_once_for_all_tasks() -> None:
    net = network().eval()

    def forward(count: int) -> int:
        net.policies.set_gates({name: torch.full((count, 2), 0.5) for name in NAMES})
        return count_flops(lambda: net.maps(BATCH.image, list(net.tasks), None))

    assert forward(1) == forward(0)
    assert all(more > less for less, more in pairwise(forward(count) for count in range(1, BLOCKS + 1)))


def test_the_policys_rate_does_not_follow_the_schedule() -> None:
    phase = policy_phase(network(policy_lr=0.02))
    set_lr(phase.optimizers.values(), 0.25)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in phase.optimizers.items()}
    assert rates == {"weights": 2.5e-4, "policy": 0.02}


def test_short_policy_phases_have_a_higher_rate() -> None:
    assert policy_rate(1000, 600, 8, 0.2) == 0.01
    assert policy_rate(16, 600, 8, 0.2) == pytest.approx(5 / 240)
    assert policy_rate(1, 8, 8, 0.2) == 0.1


def test_a_task_without_labels_or_a_batch_without_any_is_no_problem() -> None:
    phase = policy_phase(network())
    for absent in (["shape"], NAMES):
        batch = batches(1, {0: absent})[0]
        for step in (phase.weight_step, phase.policy_step):
            assert set(step(1.0, 2, batch)) == set(NAMES) - set(absent)


# -- phases -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "epochs", "hypers", "expected"),
    [
        ("equal_total", 10, {}, [1, 4, 5]),
        ("equal_total", 1000, {}, [100, 400, 500]),
        ("equal_total", 20, {"samples": 3}, [2, 8, 4, 3, 3]),
        ("equal_final", 10, {}, [2, 8, 10]),
        ("equal_final", 10, {"samples": 2}, [2, 8, 10, 10]),
        ("paper", 10, {}, [2, 8, *[10] * 8]),
        ("paper", 10, {"samples": 1}, [2, 8, 10]),
    ],
)
def test_budgets(mode: str, epochs: int, hypers: dict[str, Any], expected: list[int]) -> None:
    phases = start(network(**hypers), epochs, mode)[2]
    assert [phase.epochs for phase in phases] == expected
    assert [phase.selectable for phase in phases] == [False, False, *[True] * (len(expected) - 2)]


def test_budgets_that_cannot_be_split() -> None:
    with pytest.raises(UserError, match="7 epochs or more"):
        start(network(samples=6), 6)
    with pytest.raises(UserError, match="'depht', but the tasks are"):
        start(network(loss_weights={"depht": 2.0}))
    with pytest.raises(UserError, match="no budget"):
        start(network(warm_up=0.5, policy=0.5), 10)


@pytest.mark.parametrize(("epochs", "expected"), [(2, [1, 1]), (5, [3, 2]), (6, [3, 3]), (8, [4, 4])])
def test_a_small_budget_warms_up_within_its_first_epoch(epochs: int, expected: list[int]) -> None:
    """Warm-up takes a tenth of the budget in images, and the rounds run over the whole curriculum all the same."""
    phases = start(network(rounds=40), epochs, images=4000)[2]
    assert [phase.epochs for phase in phases] == expected
    passes = [phases[0].passes(epoch) for epoch in range(phases[0].epochs)]
    for of_epoch in passes:
        assert sum(part.part[1] - part.part[0] for part in of_epoch) == pytest.approx(1, abs=0.02)
    first = passes[0][0]
    assert first.kind == "warm-up"
    assert first.part == pytest.approx((0, 0.1 * epochs), abs=0.03)
    kinds = [part.kind for of_epoch in passes for part in of_epoch][1:]
    assert "warm-up" not in kinds
    assert kinds[0] == "weights, 1 gated" and kinds[-1] == f"policy, {BLOCKS} gated"


@pytest.mark.parametrize("epochs", [10, 100])
def test_rounds_of_equal_budgets_follow_the_progress(epochs: int) -> None:
    phase = policy_learning(start(network(rounds=8), epochs, images=400)[2])
    kinds = []
    for epoch in range(phase.epochs):
        passes = phase.passes(epoch)
        assert sum(part.part[1] - part.part[0] for part in passes) == pytest.approx(1)
        kinds += [part.kind for part in passes]
    assert kinds[0] == "weights, 1 gated" and kinds[-1] == f"policy, {BLOCKS} gated"
    assert kinds[len(kinds) // 4 + 2] == f"weights, {BLOCKS} gated"
    assert len(kinds) == 2 * max(8, phase.epochs)


def test_the_papers_rounds_are_epochs_with_sgd() -> None:
    net = network()
    run, strategy, phases = start(net, 20, "paper")
    before, phase = run.optimizer, policy_learning(phases)
    phase.prepare()
    optimizer = strategy.optimizers["weights"]
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.param_groups[0]["weight_decay"] == 1e-4
    assert run.optimizer.factor(0.7) == 1.0
    assert [part.kind for part in phase.passes(7)] == ["weights, 3 gated", "policy, 3 gated"]
    assert phase.last[0] == pytest.approx(5 * 0.965**7)
    phase.finish()
    assert run.optimizer == before and len(net.policies.samples) == 8


# -- sampled policies ---------------------------------------------------------------------------------------------------


def trained(mode: str = "equal_total", samples: int = 3, tasks: tuple[Task, ...] = TASKS) -> tuple[AdaShare, list[Phase]]:
    """A network at the end of policy learning."""
    net = network(tasks=tasks, samples=samples)
    phases = start(net, 10, mode)[2]
    some_policy(net)
    phases[1].prepare()
    phases[1].finish()
    return net, phases


def test_samples_follow_from_the_seed_and_not_from_the_tasks_order() -> None:
    net, other = trained()[0], network(tasks=TASKS[::-1], samples=3)
    phases = start(other, 10)[2]
    for task, own in net.policies.by_task().items():
        other.policies.by_task()[task].data.copy_(own)
    phases[1].prepare()
    phases[1].finish()
    samples = net.policies.samples
    assert samples == other.policies.samples
    assert len(samples) == 3 and samples[0] != samples[1]
    assert net.plan().table[0] == (0, 0, 0)


@pytest.mark.parametrize("mode", ["equal_total", "paper"])
def test_retraining_starts_from_the_initial_weights_and_keeps_the_policy(mode: str) -> None:
    net, phases = trained(mode)
    fresh, policy = weights(network(samples=3)), logits(net)
    with torch.no_grad():
        for weight in graph_of(net).parameters():
            weight.add_(1.0)
    phases[3].begin()
    assert int(net.sample) == 1
    own = weights(net)
    same = [name for name in own if name in fresh]
    assert len(same) > 0.5 * len(own) and all(torch.equal(own[name], fresh[name]) for name in same)
    assert torch.equal(policy, logits(net))
    assert net.plan().to_json() == deployed_graph(net.deploy()).plan.to_json()
    phases[3].prepare()
    phases[3].passes(0)[0].step(BATCH)
    assert torch.equal(policy, logits(net))


def deployed_graph(deployed: nn.Module) -> SharingGraph:
    graph = deployed.get_submodule("graph")
    assert isinstance(graph, SharingGraph)
    return graph


@pytest.mark.parametrize("mode", ["equal_total", "paper"])
def test_what_is_shipped_has_no_unused_blocks_and_skips(mode: str) -> None:
    net, phases = trained(mode, samples=1)
    for blocks in net.policies.samples[0].values():
        blocks[1] = False
    phases[2].begin()
    shipped = net.deploy().eval()
    graph = deployed_graph(shipped)
    assert isinstance(net.graph, MultiplyingGraph) == (mode == "paper")
    assert None in graph.plan.table[2] and not graph.plan.variants(2)
    assert not [name for name, _ in graph.module(2, None).named_parameters() if "downsample" not in name]
    trie = sum(None not in path[-1:] for depth in range(BLOCKS + 1) for path in net.plan().groups(depth))
    calls: list[nn.Module] = []
    for module in graph.variants.values():
        module.register_forward_hook(lambda module, *_: calls.append(module))
    predictions = shipped(BATCH.image)
    assert len(calls) == trie
    assert {task: len(prediction) for task, prediction in predictions.items()} == dict.fromkeys(NAMES, 4)


@pytest.mark.parametrize("mode", ["equal_total", "paper"])
def test_structure_and_weights_of_any_sample_can_be_restored(mode: str) -> None:
    net, phases = trained(mode)
    states = []
    for phase in phases[2:4]:
        phase.begin()
        phase.prepare()
        phase.passes(0)[0].step(BATCH)
        states.append({name: value.clone() for name, value in net.state_dict().items()})
    expected = net.eval()(BATCH.image)
    other = network(samples=3).eval()
    other.restore_structure(net.structure())
    other.load_state_dict(net.state_dict())
    assert other.plan() == net.plan()
    assert all(torch.equal(prediction, expected[task]) for task, prediction in other(BATCH.image).items())
    # The harness merges the selected weights into the present ones, whose structure may be another sample's.
    net.load_state_dict({**net.state_dict(), **states[0]})
    assert int(net.sample) == 0 and net.plan() != other.plan()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in states[0].items())


def test_every_parameter_is_owned_and_counted() -> None:
    net, phases = trained(samples=1)
    phases[2].begin()
    owners = net.owners()
    assert set(owners) == {name for name, _ in net.named_parameters()}
    by_parameter = {id(parameter): owners[name] for name, parameter in net.named_parameters()}
    for task, own in net.policies.by_task().items():
        assert by_parameter[id(own)] == {task}
    for depth in range(1, BLOCKS + 1):
        users = frozenset(net.plan().users(depth, 0))
        if users:
            assert by_parameter[id(graph_of(net).module(depth, 0).get_parameter("conv1.weight"))] == users
    extra = net.extra()
    selected = sum(map(sum, net.decision().values()))
    assert extra["sparsity"] == pytest.approx(1 - selected / (BLOCKS * len(TASKS)))
    assert 0 < extra["policy decided"] <= 0.5 and extra["blocks shared"] <= extra["blocks used"] <= BLOCKS


def test_correlation_of_policies() -> None:
    matrix = correlation([[0.9, 0.2, 0.5], [0.9, 0.2, 0.5], [0.1, 0.8, 0.5], [0.5, 0.5, 0.5]])
    assert matrix[0] == [1.0, 1.0, -1.0, 0.0] and matrix[3] == [0.0, 0.0, 0.0, 1.0]


# -- random plans -------------------------------------------------------------------------------------------------------


def test_random_plans_skip_as_much_as_asked_for() -> None:
    for sparsity in (0.0, 0.25, 0.5, 1.0):
        net = network(RandomPlan, sparsity=sparsity)
        skips = sum(entry is None for row in net.plan().table for entry in row)
        assert skips == round(sparsity * BLOCKS * len(TASKS))
        assert net.extra()["sparsity"] == pytest.approx(skips / (BLOCKS * len(TASKS)))
    sparsities = [network(RandomPlan, seed=seed, drawing="bernoulli").extra()["sparsity"] for seed in range(20)]
    assert sum(sparsities) / 20 == pytest.approx(0.5, abs=0.08)


def test_random_plans_follow_from_the_seed_and_not_from_the_tasks_order() -> None:
    plans = [network(RandomPlan, tasks=tasks, seed=seed) for tasks, seed in ((TASKS, 0), (TASKS[::-1], 0), (TASKS, 1))]
    assert plans[0].decisions == plans[1].decisions != plans[2].decisions


@pytest.mark.parametrize(
    ("mode", "budget", "epochs"),
    [("equal_total", "retraining", 5), ("equal_total", "all", 10), ("equal_final", "retraining", 10)],
)
def test_a_random_plan_trains_as_long_as_asked_for(mode: str, budget: str, epochs: int) -> None:
    assert [phase.epochs for phase in start(network(RandomPlan, budget=budget), 10, mode)[2]] == [epochs]


@pytest.mark.parametrize("name", ["uncertainty", "gradnorm", "dwa", "famo", "dtp", "gradvac"])
def test_retraining_starts_with_a_strategy_that_has_learned_nothing(name: str) -> None:
    _, strategy, phases = start(network(samples=2), 10, strategy=name)
    fresh = {key: value.clone() for key, value in strategy.state_dict().items()}
    for _ in range(3):
        strategy.step(BATCH)
        strategy.end_epoch({task: 1.0 + number for number, task in enumerate(NAMES)})
    assert any(not torch.equal(value, fresh[key]) for key, value in strategy.state_dict().items())
    phases[1].prepare()
    phases[1].finish()
    phases[2].begin()
    phases[2].prepare()
    after = strategy.state_dict()
    assert after.keys() == fresh.keys()
    for key, value in fresh.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0, equal_nan=True)
    phases[2].passes(0)[0].step(BATCH)


@pytest.mark.parametrize(
    ("epochs", "hypers"),
    [(10, {"samples": 9}), (20, {"samples": 19}), (2, {"warm_up": 0.5}), (4, {"samples": 3, "warm_up": 0.3, "policy": 0.3})],
)
def test_budgets_that_just_suffice(epochs: int, hypers: dict[str, Any]) -> None:
    phases = start(network(**hypers), epochs)[2]
    assert sum(phase.epochs for phase in phases) == epochs
    assert all(phase.epochs > 0 for phase in phases)


def test_the_likely_plan_is_what_the_policy_holds_most_likely() -> None:
    net, _ = trained()
    plan = net.further_plans()["likely"]
    for task, probability in net.policies.probability().items():
        assert [entry is not None for entry in plan.column(task)[1:]] == [value > 0.5 for value in probability]


def test_the_last_round_gates_all_blocks_however_few_there_are() -> None:
    phases = start(network(), 2, images=8)[2]
    assert [part.kind for part in phases[0].passes(0)] == [f"weights, {BLOCKS} gated", f"policy, {BLOCKS} gated"]


def test_an_epoch_begins_without_the_gates_of_the_last_validation() -> None:
    net = network()
    phase = policy_phase(net)
    phase.end_epoch(0, {})
    assert net.policies.gates
    phase.passes(1)
    assert not net.policies.gates


@pytest.mark.parametrize("epochs", [2, 5, 9, 11, 13, 21, 40])
def test_random_plans_train_as_long_as_retraining(epochs: int) -> None:
    retraining = start(network(), epochs)[2][-1].epochs
    assert [phase.epochs for phase in start(network(RandomPlan), epochs)[2]] == [retraining]
