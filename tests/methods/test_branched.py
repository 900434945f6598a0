"""Representation similarity, the search for a tree, and branched networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mtlbench.contract import Batch
from mtlbench.methods._shared.partitions import Partition, partitions
from mtlbench.methods.branched import Branched
from mtlbench.methods.branched.affinity import affinity, dissimilarity_matrix
from mtlbench.methods.branched.tree_search import best_tree, unlikeness
from mtlbench.methods.equal import Equal
from mtlbench.running.trial import Trial
from tests.tiny import batch, build, run, strategy, trials
from tests.tiny_methods import graph_of, parameters_of

# -- representation similarity ------------------------------------------------------------------------------------------


def features(seed: int, images: int = 40) -> torch.Tensor:
    return torch.randn(images, 6, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_affinity_of_a_network_with_itself_is_one() -> None:
    matrix = dissimilarity_matrix(features(0))
    assert affinity([matrix, matrix.clone()]) == pytest.approx(np.ones((2, 2)))


def test_affinity_of_independent_features_is_about_zero() -> None:
    """Counting the empty half of the matrices, as one public implementation does, would make them seem alike."""
    affinities = [
        affinity([dissimilarity_matrix(features(2 * seed)), dissimilarity_matrix(features(2 * seed + 1))])[0, 1]
        for seed in range(20)
    ]
    assert abs(np.mean(affinities)) < 0.03


def test_affinity_is_symmetric_and_knows_no_order() -> None:
    similarity = affinity([dissimilarity_matrix(features(seed)) for seed in range(3)])
    assert similarity == pytest.approx(similarity.T)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = [dissimilarity_matrix(features(seed)[order]) for seed in range(3)]
    assert affinity(shuffled) == pytest.approx(similarity)


def test_dissimilarity_ignores_the_order_scale_and_offset_of_channels() -> None:
    maps = features(0)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dissimilarity_matrix(3 * maps[:, order] + 2), dissimilarity_matrix(maps))
    assert torch.equal(dissimilarity_matrix(torch.ones(4, 3)), torch.ones(4, 4))


def test_dissimilarity_is_one_less_the_correlation() -> None:
    maps = features(1, images=7)
    expected = 1 - np.corrcoef(maps.flatten(1).numpy())
    assert dissimilarity_matrix(maps).numpy() == pytest.approx(expected, abs=1e-12)


# -- the search ---------------------------------------------------------------------------------------------------------


def unlike(seed: int, tasks: int, locations: int = 3) -> NDArray[np.float64]:
    draws = np.random.default_rng(seed).random((locations, tasks, tasks))
    both: NDArray[np.float64] = (draws + draws.transpose(0, 2, 1)) / 2
    both[:, range(tasks), range(tasks)] = 0
    return both


def every_tree(tasks: int, locations: int) -> list[tuple[Partition, ...]]:
    """All trees, by trying all sequences of partitions."""
    candidates = [tuple(sorted(tuple(sorted(group)) for group in groups)) for groups in partitions(range(tasks))]
    return [levels for levels in product(candidates, repeat=locations) if is_tree(levels)]


def is_tree(levels: tuple[Partition, ...]) -> bool:
    """Whether every partition refines the one before."""
    return all(any(set(fine) <= set(coarse) for coarse in first) for first, second in pairwise(levels) for fine in second)


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
            (
                sum(map(unlikeness, levels, matrix)),
                sum(len(groups) * cost for groups, cost in zip(levels, COSTS, strict=True)),
            )
            for levels in every_tree(tasks, 3)
        ]
        best = min((score, cost) for score, cost in scored if cost <= limit)
        tree = best_tree(matrix, COSTS, limit)
        assert (tree.score, tree.cost) == pytest.approx(best)
        assert best_tree(matrix, COSTS, limit, beam=10**6) == tree


def test_the_budget_decides_how_much_is_shared() -> None:
    matrix = unlike(0, 5)
    least = best_tree(matrix, COSTS, sum(COSTS))
    assert least.levels == (((0, 1, 2, 3, 4),),) * 3
    most = best_tree(matrix, COSTS, 5 * sum(COSTS))
    assert most.score == 0 and all(len(groups) == 5 for groups in most.levels)
    limits = np.linspace(sum(COSTS), 5 * sum(COSTS), 12).tolist()
    scores = [best_tree(matrix, COSTS, limit).score for limit in limits]
    assert all(more <= less for less, more in pairwise(scores))
    with pytest.raises(ValueError, match="hard sharing costs 7"):
        best_tree(matrix, COSTS, 6.9)


@pytest.mark.parametrize("beam", [1, 3, 0])
def test_many_tasks_and_narrow_beams_give_trees_within_the_limit(beam: int) -> None:
    for tasks in (4, 12):
        tree = best_tree(unlike(1, tasks), COSTS, 30.0, beam)
        assert tree.cost <= 30
        assert is_tree(tree.levels)
        assert tree.score >= best_tree(unlike(1, tasks), COSTS, 30.0).score - 1e-12


def test_tasks_that_are_alike_stay_together() -> None:
    matrix = np.full((3, 4, 4), 0.9)
    for i, j in ((0, 2), (1, 3)):
        matrix[:, i, j] = matrix[:, j, i] = 0.01
    matrix[:, range(4), range(4)] = 0
    assert best_tree(matrix, COSTS, 2 * sum(COSTS)).levels[-1] == ((0, 2), (1, 3))


# -- the method ---------------------------------------------------------------------------------------------------------


def settled(size: float = 0.5) -> Branched:
    """A branched network whose tasks' own networks differ at random."""
    network = build(Branched, size=size)
    for number, task in enumerate(network.tasks):
        generator = torch.Generator().manual_seed(number)
        for weight in network.own_parameters(task):
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator) * weight.data.abs().mean()
    network.settle(replace(run(), training_images=images), 2)
    return network


def images(count: int, size: int) -> Iterator[Batch]:
    return (batch(count=min(size, count - start), seed=start) for start in range(0, min(count, 12), size))


def test_the_chosen_network_is_within_the_budget() -> None:
    sizes = []
    for size in (0.0, 0.3, 1.0):
        network = settled(size)
        sizes.append(parameters_of(graph_of(network)))
        assert network.extra()["tree size"] <= 1
    stem = parameters_of(network.template.stem)
    shared, separate = sizes[0], sizes[-1] + stem * (len(network.tasks) - 1)
    assert separate == pytest.approx(shared * len(network.tasks))
    assert shared <= sizes[1] <= shared + 0.3 * (separate - shared)


def test_the_branched_network_starts_from_the_initial_weights() -> None:
    network, fresh = settled(), build(Branched)
    stem = graph_of(network).module(0, 0).state_dict()
    assert stem and all(torch.equal(value, stem[key]) for key, value in network.template.stem.state_dict().items())
    for unit, depth in ((unit, depth) for depth, unit in enumerate(network.units)):
        initial = unit.make().state_dict()
        for variant in network.plan().variants(depth):
            learned = graph_of(network).module(depth, variant).state_dict()
            assert all(torch.equal(learned[key], value) for key, value in initial.items())
    for key, value in fresh.heads.state_dict().items():
        torch.testing.assert_close(network.heads.state_dict()[key], value)


def test_structure_brings_the_tree_along() -> None:
    network, other = settled(), build(Branched)
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    assert other.plan() == network.plan() and other.extra() == network.extra() and other.artefacts() == network.artefacts()
    image = batch().image
    for task, prediction in network.eval()(image).items():
        assert torch.equal(other.eval()(image)[task], prediction)


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
    (trial,) = trials(tmp_path, [{"name": "branched", "set": {"size": 0.4}}])
    straight = Trial(trial, tmp_path / "straight")
    names = [progress.phase for progress in straight.epochs()]
    assert names == ["single-task", "joint", "joint"]
    expected = json.loads(straight.finish(tmp_path).read_text())["result"]
    for _ in names[1:]:
        list(islice(Trial(trial, tmp_path / "again").epochs(), 1))
    again = Trial(trial, tmp_path / "again")
    assert [progress.phase for progress in again.epochs()] == ["joint"]
    assert json.loads(again.finish(tmp_path).read_text())["result"] == expected
    assert len(expected["structure"]["similarity"]) == 4
