"""Task grouping: the choice of networks, affinities, rounds, and networks of groups."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import torch

from mtlbench.conformance.network_checks import check_owners, check_parts
from mtlbench.contract import UserError
from mtlbench.methods._shared.group_selection import Matrix, Network, best_networks, mean_of_pairs
from mtlbench.methods.equal import Equal
from mtlbench.methods.hoa import HigherOrderApproximation
from mtlbench.methods.hoa import select as select_by_losses
from mtlbench.methods.hoa.rounds import Round, rounds
from mtlbench.methods.tag import TAG, Affinity
from mtlbench.methods.tag import select as select_by_affinity
from mtlbench.methods.tag.look_ahead import affinities
from mtlbench.tasks import Classification
from tests.tiny import batch, build, network_config, run, strategy
from tests.tiny_methods import GOLDEN

# -- the choice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("networks", [1, 2, 3])
@pytest.mark.parametrize("data", ["taskonomy", "random"])
@pytest.mark.parametrize("method", ["tag", "hoa"])
def test_networks_are_those_of_the_official_code(method: str, data: str, networks: int) -> None:
    with np.load(GOLDEN / "grouping.npz") as golden:
        matrix: Matrix = golden[f"{method}/{data}/matrix"]
        members, value = golden[f"{method}/{data}/{networks}/members"], float(golden[f"{method}/{data}/{networks}/value"])
    chosen = (select_by_affinity if method == "tag" else select_by_losses)(matrix, networks)
    assert sorted(network.members for network in chosen) == sorted(tuple(np.flatnonzero(row).tolist()) for row in members)
    sign = 1 if method == "tag" else -1
    alone = (lambda task: -1e6) if method == "tag" else (lambda task: float(matrix[task, task]))
    of_pairs = mean_of_pairs(matrix, alone)
    scores = [dict(zip(network.members, of_pairs(network.members), strict=True)) for network in chosen]
    served = [scores[number][task] for number, network in enumerate(chosen) for task in network.serves]
    assert np.mean(served) == pytest.approx(value)
    best = [max(sign * own[task] for own in scores if task in own) for task in range(len(matrix))]
    assert sign * np.mean(best) == pytest.approx(value)  # every task is served by the best of the chosen networks


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    tasks, draw = 4, np.random.default_rng(seed)
    groups = [group for size in range(1, tasks + 1) for group in combinations(range(tasks), size)]
    scores = {group: draw.normal(size=len(group)).tolist() for group in groups}
    for networks in (1, 2, 3):
        best = -np.inf
        for count in range(1, networks + 1):
            for chosen in combinations(groups, count):
                by_task = [[scores[g][g.index(task)] for g in chosen if task in g] for task in range(tasks)]
                if all(by_task):
                    best = max(best, sum(map(max, by_task)))
        found = best_networks(scores.__getitem__, tasks, networks)
        value = sum(scores[network.members][network.members.index(t)] for network in found for t in network.serves)
        assert len(found) <= networks and value == pytest.approx(best)
        assert sorted(t for network in found for t in network.serves) == list(range(tasks))


def test_equal_choices_take_fewer_networks_and_members() -> None:
    assert best_networks(lambda group: [0.0] * len(group), 3, 3) == [Network((0, 1, 2), (0, 1, 2))]
    assert best_networks(lambda group: [0.0], 1, 4) == [Network((0,), (0,))]


# -- TAG ----------------------------------------------------------------------------------------------------------------


def test_affinity_is_what_a_step_does_to_the_other_losses() -> None:
    network, images, rate = build(TAG).double(), batch(), 0.01
    images = batch()
    images = type(images)(
        images.image.double(),
        {task: target.double() if target.is_floating_point() else target for task, target in images.targets.items()},
        images.labelled,
        images.index,
    )
    before = {name: value.clone() for name, value in network.named_parameters()}
    measured = affinities(network, images, rate)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    # To first order Z_{i→j} = η g_i · g_j / L_j.
    losses, shared = network.losses(images), network.shared_parameters()
    rows = [
        torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in losses.values()
    ]
    small = affinities(network, images, 1e-7)
    for i, row in enumerate(rows):
        for j, (other, loss) in enumerate(zip(rows, losses.values(), strict=True)):
            assert float(small[i, j]) == pytest.approx(float(1e-7 * row @ other / loss.detach()), rel=1e-3, abs=1e-12)
    # The first row by hand.
    with torch.no_grad():
        start = 0
        for weight in shared:
            weight -= rate * rows[0][start : start + weight.numel()].view(weight.shape)
            start += weight.numel()
        ahead = network.losses(images)
    expected = [float(1 - ahead[task] / losses[task].detach()) for task in losses]
    assert measured[0].tolist() == pytest.approx(expected)


def test_tasks_without_labels_have_no_affinity() -> None:
    network, the_run = build(TAG), run(10)
    measured = affinities(network, batch(unlabelled=("depth",)), 0.01)
    number = list(network.tasks).index("depth")
    assert measured[number].isnan().all() and measured[:, number].isnan().all()
    assert int(measured.isfinite().sum()) == 4
    phase = network.phases(the_run, strategy(Equal, network, the_run))[0]
    assert isinstance(phase, Affinity) and (phase.epochs, phase.rate) == (3, 0.01)
    phase.add(measured)
    phase.add(torch.ones(3, 3, dtype=torch.float64))
    phase.finish()
    assert network.affinity[number] == [1.0, 1.0, 1.0]
    assert network.affinity[0][0] == pytest.approx((float(measured[0, 0]) + 1) / 2)
    again = network.phases(the_run, strategy(Equal, network, the_run))[0]
    again.restore(phase.state())
    assert torch.equal(again.sums, phase.sums)  # type: ignore[attr-defined]


def test_affinity_received_decides() -> None:
    network = build(TAG, networks=2)
    # segmentation helps depth; normals helps segmentation; nobody helps normals, depth harms it least.
    network.affinity = [[0.0, 5.0, -3.0], [-1.0, 0.0, -1.0], [4.0, 0.0, 0.0]]
    chosen = network.select()
    assert len(chosen) == 2
    served = {task: network.members for network in chosen for task in network.serves}
    assert 0 in served[1] and 2 in served[0]


# -- HOA ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", range(1, 9))
def test_rounds_have_every_pair_and_every_task_once(tasks: int) -> None:
    played = rounds(tasks)
    assert len(played) == tasks
    assert all(sorted(task for group in groups for task in group) == list(range(tasks)) for groups in played)
    expected = [(task,) for task in range(tasks)] + list(combinations(range(tasks), 2))
    assert sorted(group for groups in played for group in groups) == sorted(expected)


def test_rounds_measure_losses_of_pairs() -> None:
    network, the_run = build(HigherOrderApproximation), run(8)
    started = strategy(Equal, network, the_run)
    phases = network.phases(the_run, started)
    assert [phase.epochs for phase in phases] == [1, 1, 1, 5]
    for number, phase in enumerate(phases[:-1]):
        assert isinstance(phase, Round) and not phase.selectable
        phase.begin()
        phase.prepare()
        train, measure = phase.passes(0)
        assert (train.part, measure.part, measure.updates) == ((0.0, 0.8), (0.8, 1.0), 0)
        before = {name: value.clone() for name, value in network.named_parameters()}
        assert measure.step(batch()) == {} and network.training
        assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
        phase.end_epoch(phase.epochs - 1, {})
        assert len(network.measured) == number + 1
        assert {len(set(row)) for row in network.plan().table} == {len(network.rounds[number])}
    matrix = network.losses_of_pairs()
    assert matrix.shape == (3, 3) and (matrix > 0).all()
    for groups, losses in zip(network.rounds, network.measured, strict=True):
        for group in groups:
            assert matrix[group[0], group[-1]] == list(losses.values())[group[0]]


def test_the_search_is_part_of_the_budget() -> None:
    network = build(HigherOrderApproximation)
    with pytest.raises(UserError, match="3 tasks need 4 epochs or more, and there are 3"):
        network.phases(run(3), strategy(Equal, network, run(3)))
    tag = build(TAG)
    assert [phase.epochs for phase in tag.phases(run(10), strategy(Equal, tag, run(10)))] == [3, 7]


# -- networks of groups -------------------------------------------------------------------------------------------------


def test_a_task_may_help_in_a_network_that_does_not_predict_it() -> None:
    network = build(TAG).train()
    network.choose([Network((0, 1), (0,)), Network((1, 2), (1, 2))])
    assert network.plan().table == ((0, 1, 1),) * len(network.units)
    assert network.extra()["networks"] == 2 and network.extra()["helping tasks"] == 1
    images = batch()
    check_owners(network, images)
    check_parts(network)
    predictions, further = network.predict_all(images.image, list(network.tasks), None)
    assert [(task, weight) for task, _, weight in further] == [("depth", 1.0)]
    assert further[0][1].shape == predictions["depth"].shape
    # The two networks, their heads and the data of the helping task are what its loss is made of.
    losses = network.losses(images)
    own = network.tasks["depth"].loss(predictions["depth"], images.target("depth"))
    helping = network.tasks["depth"].loss(further[0][1], images.target("depth"))
    torch.testing.assert_close(losses["depth"], own + helping, rtol=1e-3, atol=1e-4)
    deployed = network.eval().deploy()
    assert not any(name.startswith("auxiliary") for name, _ in deployed.named_parameters())
    for task, prediction in deployed(images.image).items():
        assert torch.equal(prediction, network(images.image)[task])


def test_helping_tasks_have_their_own_images() -> None:
    network = build(TAG).eval()
    network.choose([Network((0, 1, 2), (0,)), Network((1, 2), (1, 2))])
    rows = {"segmentation": torch.tensor([0, 1]), "depth": torch.tensor([2]), "normals": torch.tensor([1, 3])}
    image = batch().image
    _, together = network.predict_all(image, list(network.tasks), None)
    _, own = network.predict_all(image, list(network.tasks), rows)
    for (task, whole, _), (same, part, _) in zip(together, own, strict=True):
        assert task == same
        torch.testing.assert_close(part, whole[rows[task]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [TAG, HigherOrderApproximation])
def test_structure_brings_the_networks_along(cls: type[TAG] | type[HigherOrderApproximation]) -> None:
    network, other = build(cls), build(cls)
    network.choose([Network((0, 1), (0,)), Network((1, 2), (1, 2))])
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    assert other.plan() == network.plan() and other.chosen == network.chosen
    assert other.owners() == network.owners()


def test_many_tasks_are_refused() -> None:
    tasks = tuple(Classification(f"task{number}", 2) for number in range(13))
    with pytest.raises(UserError, match="at most 12 tasks, and there are 13"):
        TAG(network_config(tasks), TAG.configure({}, "tag"))
