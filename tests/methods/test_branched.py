"""Representation similarity, the search for a tree, and branched networks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from mtlbench.contract import Batch
from mtlbench.methods._affinity import affinity, dissimilarity_matrix
from mtlbench.methods._task_grouping import partitions
from mtlbench.methods._tree_search import Partition, best_tree, unlikeness
from mtlbench.methods.branched import Branched
from mtlbench.methods.equal import Equal
from mtlbench.running.trial import Trial
from tests.tiny import batch, build, run, strategy, trials

# -- representation similarity ------------------------------------------------------------------------------------------


def features(seed: int, images: int = 40) -> torch.Tensor:
    return torch.randn(images, 6, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_affinity_of_a_network_with_itself_is_one() -> None:
    one = dissimilarity_matrix(features(0))
    assert affinity([one, one.clone()]) == pytest.approx(np.ones((2, 2)))


def test_affinity_of_independent_features_is_about_zero() -> None:
    """Counting the empty half of the matrices, as one public implementation does, would make them seem alike."""
    found = [
        affinity([dissimilarity_matrix(features(2 * seed)), dissimilarity_matrix(features(2 * seed + 1))])
        for seed in range(20)
    ]
    assert abs(np.mean([one[0, 1] for one in found])) < 0.03


def test_affinity_is_symmetric_and_knows_no_order() -> None:
    matrices = [dissimilarity_matrix(features(seed)) for seed in range(3)]
    found = affinity(matrices)
    assert found == pytest.approx(found.T)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = [dissimilarity_matrix(features(seed)[order]) for seed in range(3)]
    assert affinity(shuffled) == pytest.approx(found)


def test_dissimilarity_ignores_the_order_scale_and_offset_of_channels() -> None:
    one = features(0)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dissimilarity_matrix(3 * one[:, order] + 2), dissimilarity_matrix(one))
    assert torch.equal(dissimilarity_matrix(torch.ones(4, 3)), torch.ones(4, 4))


def test_dissimilarity_is_one_less_the_correlation() -> None:
    one = features(1, images=7)
    expected = 1 - np.corrcoef(one.flatten(1).numpy())
    assert dissimilarity_matrix(one).numpy() == pytest.approx(expected, abs=1e-12)


# -- the search ---------------------------------------------------------------------------------------------------------


def unlike(seed: int, tasks: int, locations: int = 3) -> np.ndarray:
    draws = np.random.default_rng(seed).random((locations, tasks, tasks))
    both = (draws + draws.transpose(0, 2, 1)) / 2
    both[:, range(tasks), range(tasks)] = 0
    return both


def every_tree(tasks: int, locations: int) -> list[tuple[Partition, ...]]:
    """All trees, by trying all sequences of partitions."""
    all_ = [tuple(sorted(tuple(sorted(group)) for group in one)) for one in partitions(range(tasks))]
    return [
        levels
        for levels in product(all_, repeat=locations)
        if all(any(set(fine) <= set(coarse) for coarse in first) for first, second in pairwise(levels) for fine in second)
    ]


@pytest.mark.parametrize(("tasks", "count"), [(2, 4), (3, 22), (4, 154)])
def test_there_are_as_many_trees_as_counted_elsewhere(tasks: int, count: int) -> None:
    assert len(every_tree(tasks, 3)) == count


COSTS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize("tasks", [2, 3, 4])
@pytest.mark.parametrize("limit", [7.0, 9.0, 13.0, 28.0])
def test_the_search_is_exact(tasks: int, limit: float) -> None:
    for seed in range(5):
        matrix = unlike(seed, tasks)
        scored = [
            (sum(map(unlikeness, levels, matrix)), sum(len(one) * cost for one, cost in zip(levels, COSTS, strict=True)))
            for levels in every_tree(tasks, 3)
        ]
        best = min((score, cost) for score, cost in scored if cost <= limit)
        found = best_tree(matrix, COSTS, limit)
        assert (found.score, found.cost) == pytest.approx(best)
        assert best_tree(matrix, COSTS, limit, beam=10**6) == found


def test_the_budget_decides_how_much_is_shared() -> None:
    matrix = unlike(0, 5)
    least = best_tree(matrix, COSTS, sum(COSTS))
    assert least.levels == (((0, 1, 2, 3, 4),),) * 3
    most = best_tree(matrix, COSTS, 5 * sum(COSTS))
    assert most.score == 0 and all(len(one) == 5 for one in most.levels)
    scores = [best_tree(matrix, COSTS, limit).score for limit in np.linspace(sum(COSTS), 5 * sum(COSTS), 12)]
    assert all(more <= less for less, more in pairwise(scores))
    with pytest.raises(ValueError, match="hard sharing costs 7"):
        best_tree(matrix, COSTS, 6.9)


@pytest.mark.parametrize("beam", [1, 3, 0])
def test_many_tasks_and_narrow_beams_give_trees_within_the_limit(beam: int) -> None:
    for tasks in (4, 12):
        found = best_tree(unlike(1, tasks), COSTS, 30.0, beam)
        assert found.cost <= 30
        for first, second in pairwise(found.levels):
            assert all(any(set(fine) <= set(coarse) for coarse in first) for fine in second)
        assert found.score >= best_tree(unlike(1, tasks), COSTS, 30.0).score - 1e-12


def test_tasks_that_are_alike_stay_together() -> None:
    matrix = np.full((3, 4, 4), 0.9)
    for i, j in ((0, 2), (1, 3)):
        matrix[:, i, j] = matrix[:, j, i] = 0.01
    matrix[:, range(4), range(4)] = 0
    found = best_tree(matrix, COSTS, 2 * sum(COSTS))
    assert found.levels[-1] == ((0, 2), (1, 3))


# -- the method ---------------------------------------------------------------------------------------------------------


def settled(size: float = 0.5) -> Branched:
    """A branched network whose tasks' own networks differ at random."""
    network = build(Branched, size=size)
    assert isinstance(network, Branched) and network.graph is not None
    for number, task in enumerate(network.tasks):
        generator = torch.Generator().manual_seed(number)
        for weight in network.own_parameters(task):
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator) * weight.data.abs().mean()
    network.settle(replace(run(), training_images=images), 2)
    return network


def images(count: int, size: int) -> list[Batch]:  # type: ignore[return]
    return [batch(count=min(size, count - start), seed=start) for start in range(0, min(count, 12), size)]


def test_the_chosen_network_is_within_the_budget() -> None:
    sizes = []
    for size in (0.0, 0.3, 1.0):
        network = settled(size)
        assert network.graph is not None
        sizes.append(sum(weight.numel() for weight in network.graph.parameters()))
        assert network.extra()["tree size"] <= 1
    stem = sum(weight.numel() for weight in network.template.stem.parameters())
    shared, separate = sizes[0], sizes[-1] + stem * (len(network.tasks) - 1)
    assert separate == pytest.approx(shared * len(network.tasks))
    assert shared <= sizes[1] <= shared + 0.3 * (separate - shared)


def test_the_branched_network_starts_from_the_initial_weights() -> None:
    network, fresh = settled(), build(Branched)
    own = network.template.state_dict()
    for key, value in network.graph.state_dict().items():  # type: ignore[union-attr]
        _, _, rest = key.partition(".")
        unit, _, name = rest.partition(".")
        if unit.startswith("0_"):
            torch.testing.assert_close(value, own[f"stem.{name}"])
    for key, value in fresh.heads.state_dict().items():
        torch.testing.assert_close(network.heads.state_dict()[key], value)


def test_structure_brings_the_tree_along() -> None:
    network, other = settled(), build(Branched)
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    assert other.plan() == network.plan() and other.extra() == network.extra() and other.artefacts() == network.artefacts()
    image = batch().image
    for task, one in network.eval()(image).items():
        assert torch.equal(other.eval()(image)[task], one)


def test_the_search_is_part_of_the_budget() -> None:
    network, the_run = build(Branched), run(10)
    phases = network.phases(the_run, strategy(Equal, network, the_run))
    assert [(phase.name, phase.epochs, phase.selectable) for phase in phases] == [
        ("single-task", 4, False),
        ("joint", 6, True),
    ]
    the_run = replace(the_run, budget=replace(the_run.budget, mode="paper"))
    assert [phase.epochs for phase in network.phases(the_run, strategy(Equal, network, the_run))] == [10, 10]
    the_run = replace(the_run, budget=replace(the_run.budget, mode="equal_final"))
    assert [phase.epochs for phase in network.phases(the_run, strategy(Equal, network, the_run))] == [7, 10]


def test_killed_after_every_epoch_it_ends_in_the_same_record(tmp_path: Path) -> None:
    (one,) = trials(tmp_path, [{"name": "branched", "set": {"size": 0.4}}])
    straight = Trial(one, tmp_path / "straight")
    names = [progress.phase for progress in straight.epochs()]
    assert names == ["single-task", "joint", "joint"]
    expected = json.loads(straight.finish(tmp_path).read_text())["result"]
    for _ in names[1:]:
        list(islice(Trial(one, tmp_path / "again").epochs(), 1))
    again = Trial(one, tmp_path / "again")
    assert [progress.phase for progress in again.epochs()] == ["joint"]
    assert json.loads(again.finish(tmp_path).read_text())["result"] == expected
    assert len(expected["structure"]["similarity"]) == 4
