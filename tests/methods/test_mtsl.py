"""What MTSL and its random counterpart promise."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import Budget, Phase, Run, UserError, on_device, set_lr
from mtlbench.methods._shared.partitions import partitions
from mtlbench.methods._shared.trees import columns, frame, nodes
from mtlbench.methods.mtsl import MTSL
from mtlbench.methods.mtsl.amalgamation import Fusion, amalgamation_optimizer
from mtlbench.methods.mtsl.grouping import best_partition, merging
from mtlbench.methods.mtsl.phases import Structure, without_single
from mtlbench.methods.mtsl.schedule import schedule
from mtlbench.methods.mtsl.similarity import alignment_loss, cka
from mtlbench.methods.mtsl.task_tree import Group
from mtlbench.methods.random_tree import RandomTree, random_tree
from tests.methods.mtsl_network import NAMES, batch, config, network, run_of, strategy
from tests.tiny_methods import MIXED_TASKS, graph_of, parameters_of


def disturbed(net: MTSL, amount: float, seed: int = 1) -> MTSL:
    """The networks after some training: every task's copies have moved in directions of their own."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data += amount * parameter.data.abs().mean() * torch.randn(parameter.shape, generator=draw)
    return net


def grow(net: MTSL, phases: int | None = None, run: Run | None = None) -> None:
    """All structural phases, without any training between them."""
    for number in range(len(net.units) if phases is None else phases):
        net.tree.regroup(run or run_of(), number)
        net.tree.merge({})


# -- similarity -------------------------------------------------------------------------------------------------------


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_is_a_similarity() -> None:
    x, y = random_features(20, 6), random_features(20, 9, seed=1)
    rotation = torch.linalg.qr(random_features(6, 6, seed=2))[0]
    alike = cka([x, x, x @ rotation, 3 * x + 1])
    assert torch.allclose(alike, torch.ones_like(alike))
    assert cka([x, x @ random_features(6, 6, seed=3)])[0, 1] < 0.95
    assert torch.allclose(cka([x, y]), cka([y, x])) and cka([x, y]).abs().max() <= 1 + 1e-12
    independent = [float(cka(list(random_features(2, 16, 64, seed=seed)))[0, 1]) for seed in range(40)]
    assert abs(sum(independent) / 40) < 0.06  # the biased one would be .8


def test_alignment_has_a_gradient_for_every_member_and_copes_with_tiny_batches() -> None:
    features = random_features(3, 8, 5).requires_grad_()
    alignment_loss(list(features)).backward()
    assert features.grad is not None and (features.grad.flatten(1).norm(dim=1) > 0).all()
    tiny = random_features(2, 3, 5).requires_grad_()
    loss = alignment_loss(list(tiny))
    loss.backward()
    assert loss == 1 and tiny.grad is not None and torch.isfinite(tiny.grad).all()


def test_copies_at_the_start_are_alike() -> None:
    net = network().train()
    for unit in range(len(net.units)):
        features = net.tree.pooled(run_of(), [Group(unit, NAMES)])[0]
        assert torch.allclose(cka(features), torch.ones(3, 3, dtype=torch.float64))
    net.aligner.active = True
    plain = network().train().losses(batch())
    losses = net.losses(batch())
    assert all(torch.allclose(losses[task], plain[task], atol=1e-5) for task in NAMES)
    assert float(net.aligner.measured[0]) == pytest.approx(0, abs=1e-5)


# -- grouping ---------------------------------------------------------------------------------------------------------


def similarity(count: int, default: float, **pairs: float) -> Tensor:
    matrix = torch.full((count, count), default).fill_diagonal_(1.0)
    for pair, value in pairs.items():
        i, j = int(pair[1]), int(pair[2])
        matrix[i, j] = matrix[j, i] = value
    return matrix


def test_cases_of_grouping() -> None:
    assert merging(similarity(3, 0.5, _01=0.95), 0.8) == []  # the loner's zero drags the pair below the whole group
    assert merging(similarity(5, 0.3, _01=0.95, _23=0.95), 0.8) == [(0, 1), (2, 3)]
    assert merging(similarity(2, 0.81), 0.8) == [(0, 1)]
    assert merging(similarity(2, 0.5), 0.5) == []  # strictly above
    assert merging(similarity(4, 0.9), 0.8) == [(0, 1, 2, 3)]
    assert merging(similarity(1, 1.0), 0.8) == []
    assert [len(list(partitions(range(count)))) for count in range(6)] == [1, 1, 2, 5, 15, 52]


def test_grouping_does_not_depend_on_the_order_of_tasks() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        values = torch.rand(5, 5, generator=draw, dtype=torch.float64)
        values = (values + values.T) / 2
        order = torch.randperm(5, generator=draw)
        expected = {frozenset(group) for group in best_partition(values, 0.8)}
        chosen = best_partition(values[order][:, order], 0.8)
        assert {frozenset(order[list(group)].tolist()) for group in chosen} == expected


def test_too_many_tasks_are_refused() -> None:
    many = [copy.copy(task) for task in MIXED_TASKS * 4]
    for number, task in enumerate(many):
        task.name = f"task{number}"
    with pytest.raises(UserError, match="at most 10"):
        network(tasks=many)
    with pytest.raises(UserError, match="at most 5"):
        network(tasks=many[:6], strict_official=True)


# -- structure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.6, 2.0])
def test_the_structure_is_a_tree_and_parameters_are_those_of_its_nodes(amount: float) -> None:
    net = disturbed(network(threshold=0.7), amount)
    sizes = [parameters_of(unit.make()) for unit in net.units]
    heads = parameters_of(net.heads)
    for number in range(len(net.units)):
        before = parameters_of(net)
        net.tree.regroup(run_of(), number)
        saved = sum((len(tasks) - 1) * sizes[unit] for unit, tasks in net.tree.pending)
        net.tree.merge({})
        plan = net.plan()
        assert plan.is_tree()
        variants = [len(plan.variants(depth)) for depth in range(len(sizes))]
        assert variants == sorted(variants)
        assert parameters_of(net) == before - saved
        assert before - saved == heads + sum(size * count for size, count in zip(sizes, variants, strict=True))
        for unit, tasks in net.tree.groups:
            assert all(len({plan.table[depth][NAMES.index(task)] for task in tasks}) == 1 for depth in range(unit))
            assert len({plan.table[unit][NAMES.index(task)] for task in tasks}) == len(tasks) > 1


def test_thresholds_that_merge_everything_and_nothing() -> None:
    everything = disturbed(network(threshold=-1), 1.0)
    grow(everything)
    assert columns(everything.plan()) == {"groups": 1.0, "tree size": 0.0, "shared pairs": 1.0}
    nothing = network(threshold=1.01)
    grow(nothing)
    assert columns(nothing.plan()) == {"groups": 3.0, "tree size": 1.0, "shared pairs": 0.0}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("decoder", ["protocol", "fpn"])
def test_merging_equal_units_changes_no_output(decoder: str, training: bool) -> None:
    net = network(transfer="average", decoder=decoder)
    image = batch().image
    net.train()(batch(seed=3).image)  # running statistics move
    before = copy.deepcopy(net).train(training)(image)
    grow(net)
    assert nodes(net.plan()) == len(net.units)
    after = net.train(training)(image)
    assert all(torch.allclose(before[task], after[task], rtol=0, atol=1e-6) for task in NAMES)


def test_published_network_has_the_published_sizes() -> None:
    net = MTSL(config(MIXED_TASKS[:1], backbone="resnet18"), MTSL.configure({"decoder": "fpn"}, "mtsl"))
    sizes = [parameters_of(graph_of(net).module(depth, 0)) for depth in range(10)]
    assert sizes == [9536, 147968, 525568, 2099712, 8393728, 9191424, 742144, 86784, 78592, 74496]
    assert 66_000 < parameters_of(net.heads) < 75_000
    assert [unit.laterals for unit in net.units[6:]] == [(4,), (3,), (2,), (1,)]


def test_structure_is_restored_before_the_weights() -> None:
    net = disturbed(network(threshold=-1), 0.2)
    grow(net, 2)
    net.tree.regroup(run_of(), 2)
    other = network(seed=9)
    other.restore_structure(net.structure())
    on_device(other, other.mean.device).load_state_dict(net.state_dict())
    assert other.structure() == net.structure() and list(other.state_dict()) == list(net.state_dict())
    image = batch().image
    assert all(net.eval()(image)[task].equal(other.eval()(image)[task]) for task in NAMES)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in other.named_parameters()]


# -- losses and strategies --------------------------------------------------------------------------------------------


def reached_by(loss: Tensor, net: nn.Module) -> set[str]:
    """The parameters that a loss has a gradient for."""
    weights = dict(net.named_parameters())
    gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None}


def test_alignment_reaches_the_parameters_of_its_owners() -> None:
    net = disturbed(network(alignment=5.0), 0.5).train()
    net.aligner.active = True
    losses = net.losses(batch())
    for task, loss in losses.items():
        assert reached_by(loss, net) == {name for name, owners in net.owners().items() if task in owners}
    net.aligner.active = False
    plain = net.losses(batch())
    added = sum(float(losses[task].detach() - plain[task].detach()) for task in NAMES)
    assert added == pytest.approx(float(net.aligner.measured[0]), abs=1e-4)


def test_new_units_are_owned_by_the_tasks_that_merge() -> None:
    net = network(threshold=-1)
    net.tree.regroup(run_of(), 0)
    (group,) = net.tree.pending
    owners = net.owners()
    fusion = {id(parameter) for parameter in net.tree.fusion(group).parameters()}
    owning = {owners[name] for name, parameter in net.named_parameters() if id(parameter) in fusion}
    assert owning == {frozenset(NAMES)}


def test_tasks_with_images_of_their_own_are_aligned_on_common_ones() -> None:
    net = disturbed(network(), 0.5).train()
    net.aligner.active = True
    rows = {task: torch.arange(number, 12, 3) for number, task in enumerate(NAMES)}
    losses = net.losses(dataclasses.replace(batch(12), rows=rows))
    assert set(losses) == set(NAMES) and 0 < float(net.aligner.measured[0]) < 0.4


def end_of_separate_learning(net: MTSL, phase: Phase) -> None:
    """Train through the first phase, a step per batch."""
    phase.begin()
    phase.prepare()
    net.train()
    for seed in range(2):
        phase.passes(0)[0].step(batch(seed=seed))
    phase.end_epoch(0, dict.fromkeys(NAMES, 1.0))
    phase.finish()


@pytest.mark.parametrize("name", ["equal", "pcgrad", "uncertainty"])
def test_a_phase_with_any_strategy(name: str) -> None:
    net = disturbed(network(threshold=-1), 0.3)
    run = run_of(epochs=7, schedule="poly")
    used = strategy(net, run, name)
    separate, structure = net.phases(run, used)[:2]
    end_of_separate_learning(net, separate)
    structure.begin()
    structure.prepare()
    old = nn.ModuleList([graph_of(net), net.heads])
    before = {key: value.clone() for key, value in old.state_dict().items()}
    amalgamate, learn = structure.passes(0)
    assert (amalgamate.part, learn.part) == ((0.0, 0.4), (0.4, 1.0))
    assert amalgamate.step(batch()) == {}
    assert all(old.state_dict()[key].equal(value) for key, value in before.items())
    set_lr(structure.optimizers.values(), 0.5)
    assert {group["lr"] for group in structure.optimizers["fusions"].param_groups} == {1e-3}
    weight = next(iter(net.heads.parameters()))
    steps = [float(optimizer.state[weight]["step"]) for optimizer in used.optimizers.values() if weight in optimizer.state]
    assert set(learn.step(batch())) == set(NAMES)
    assert not net.tree.pending and not list(net.tree.fusions) and len(net.plan().variants(0)) == 1 and net.training
    assert [float(optimizer.state[weight]["step"]) for optimizer in used.optimizers.values()] == [step + 1 for step in steps]
    separate_share = 1 / (1 + 5 * 0.6 + 1)
    for optimizer in used.optimizers.values():
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * (1 - separate_share) ** 0.9)


def test_amalgamation_learns_to_do_as_its_teachers() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval()
    fusion = Fusion(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()), 2, 6)
    optimizer = amalgamation_optimizer(list(fusion.parameters()), 1e-2)
    losses = []
    for step in range(60):
        x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = fusion.loss(fusion.unit(x), [teacher(x).detach()] * 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


# -- schedule ---------------------------------------------------------------------------------------------------------


def test_published_schedule() -> None:
    plan = schedule(Budget("paper", 80), 10, 0.2, 0.65, 0.4)
    ends = [plan.separate + sum(plan.learning[:number]) for number in range(10)]
    assert ends == [2, 4, 6, 8, 12, 16, 24, 32, 40, 48]
    assert plan.amalgamation == [1, 1, 2, 2, 2, 2, 4, 4, 8, 8] and plan.final == 32
    assert plan.stretches[-1] == (pytest.approx(0.6), pytest.approx(1.0))
    five = schedule(Budget("paper", 7), 5, 0.2, 0.65, 0.4)
    assert five.separate + sum(five.learning) + five.final == 7 and min(five.amalgamation) == 1


@pytest.mark.parametrize("epochs", [7, 8, 20, 123])
def test_budgets(epochs: int) -> None:
    total = schedule(Budget("equal_total", epochs), 5, 0.2, 0.65, 0.4)
    assert total.separate + sum(total.learning) + sum(total.amalgamation) + total.final == pytest.approx(epochs)
    assert total.stretches[0][0] == 0 and total.stretches[-1][1] == pytest.approx(1)
    final = schedule(Budget("equal_final", epochs), 5, 0.2, 0.65, 0.4)
    assert final.final == epochs and final.stretches[-1] == (0, 1) and final.separate > 0
    net = network()
    for mode in ("equal_total", "equal_final", "paper"):
        run = run_of(mode, epochs)
        phases = net.phases(run, strategy(net, run))
        assert [phase.name for phase in phases if phase.selectable] == ["final"]
        assert mode != "equal_total" or sum(phase.epochs for phase in phases) == epochs
    with pytest.raises(UserError, match="epochs"):
        schedule(Budget("paper", 11), 10, 0.2, 0.65, 0.4)
    with pytest.raises(UserError, match="first"):
        schedule(Budget("equal_total", 40), 5, 0.7, 0.65, 0.4)


@pytest.mark.parametrize(("mode", "threshold"), [("paper", 1.01), ("paper", -1), ("equal_total", 1.01)])
def test_amalgamation_is_spent_only_where_something_merges(mode: str, threshold: float) -> None:
    net = network(threshold=threshold)
    run = run_of(mode, 80)
    phases = net.phases(run, strategy(net, run))
    for phase in phases[:2]:
        phase.begin()
        phase.prepare()
    structure = phases[1]
    assert isinstance(structure, Structure)
    if threshold > 1:
        assert structure.spent == 0 and [part.kind for part in structure.passes(0)] == ["learning"]
        assert structure.epochs == (4 if mode == "paper" else 8)
    else:
        assert (structure.spent, structure.epochs) == (1, 5)
        kinds = [[part.kind for part in structure.passes(epoch)] for epoch in (0, 1)]
        assert kinds == [["amalgamation"], ["learning"]]
        # The learning rate waits for amalgamation.
        assert structure.schedule == (structure.stretch[0],) * 2
        structure.merge()
        start, stop = structure.schedule
        assert start + (stop - start) / 5 == pytest.approx(structure.stretch[0]) and stop == structure.stretch[1]


# -- random trees -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 5, 9, 15, 16])
def test_random_trees_have_their_size(size: int) -> None:
    trees = set()
    for seed in range(10):
        plan = random_tree("abcd", "uvwx", size, torch.Generator().manual_seed(seed))
        assert plan.is_tree() and nodes(plan) == size
        trees.add(plan)
    assert len(trees) == 1 if size in (4, 16) else len(trees) > 2


def test_random_tree_trains_a_tree_of_the_asked_size() -> None:
    net = RandomTree(config(), RandomTree.configure({"size": 0.5}, "random_tree"))
    assert net.extra()["tree size"] == 0.5 and net.plan().is_tree()
    backwards = RandomTree(config(MIXED_TASKS[::-1]), RandomTree.configure({"size": 0.5}, "random_tree"))
    assert [row[::-1] for row in backwards.plan().table] == list(net.plan().table)
    assert all(bool(loss > 0) for loss in net.losses(batch()).values())
    tree = net.artefacts()["merge_tree"]
    assert tree["frames"] == [frame(net, net.plan(), 0)] and tree["tasks"] == NAMES and net.training
    assert tree["frames"][0]["parameters"] == parameters_of(net)


@pytest.mark.parametrize(("share", "images", "batch_size"), [(0.9375, 16, 8), (0.4, 16, 4), (0.5, 9, 4), (0.07, 30, 4)])
def test_no_part_ends_in_a_single_image(share: float, images: int, batch_size: int) -> None:
    first = round(without_single(share, images, batch_size) * images)
    assert abs(first - share * images) < 3
    assert first == images or 1 not in (first % batch_size, (images - first) % batch_size)
