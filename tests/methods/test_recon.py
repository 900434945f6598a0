"""Recon: conflicts between gradients, and the network whose conflicting units are task-specific."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mtlbench.conformance.network_checks import check_owners
from mtlbench.methods.equal import Equal
from mtlbench.methods.recon import Conflicts, Recon, conflicts
from tests.tiny import batch, build, run, strategy
from tests.tiny_methods import GOLDEN


@pytest.mark.parametrize("severity", [0.0, -0.1, -0.5])
def test_scores_are_those_of_the_official_code(severity: float) -> None:
    with np.load(GOLDEN / "recon.npz") as golden:
        gradients = torch.from_numpy(golden["gradients"])  # [step, layer, task, weight]
        expected, order = golden[f"{severity}/scores"].tolist(), golden[f"{severity}/order"].tolist()
    scores = [sum(conflicts(rows, severity) for rows in layer) for layer in gradients.transpose(0, 1)]
    assert scores == expected
    network = build(Recon, specific=0.2)
    network.scores = [*scores, *[-1] * (len(network.units) - len(scores))]
    assert network.most_conflicting() == sorted(order[: round(0.2 * len(network.units))])


def test_zero_gradients_do_not_conflict() -> None:
    assert conflicts(torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]), 0.0) == 1


def test_conflicts_are_counted_where_they_are() -> None:
    network, the_run = build(Recon), run(10)
    started = strategy(Equal, network, the_run)
    joint, split = network.phases(the_run, started)
    assert isinstance(joint, Conflicts) and (joint.epochs, split.epochs) == (3, 7)
    assert (joint.selectable, split.selectable) == (False, True)
    joint.prepare()
    images, graph = batch(), network.graph
    assert graph is not None
    losses = network.losses(images)
    for depth in range(len(network.units)):
        weights = list(graph.module(depth, 0).parameters())
        rows = [
            torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights, retain_graph=True)])
            for loss in losses.values()
        ]
        cosines = [float(torch.cosine_similarity(rows[i], rows[j], dim=0)) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert conflicts(torch.stack(rows), 0.0) == sum(cosine < 0 for cosine in cosines)
    (each,) = joint.passes(0)
    each.step(images)
    joint.finish()
    assert len(network.scores) == len(network.units) and 0 <= min(network.scores) <= max(network.scores) <= 3
    again = network.phases(the_run, started)[0]
    again.restore(joint.state())
    assert torch.equal(again.counts, joint.counts)  # type: ignore[attr-defined]
    each.step(batch(unlabelled=("depth", "normals")))  # one task has no pair
    assert torch.equal(again.counts, joint.counts)  # type: ignore[attr-defined]


def test_conflicting_units_become_task_specific_and_others_stay_shared() -> None:
    network = build(Recon, specific=0.25).train()
    network.scores = [0] * len(network.units)
    network.scores[2], network.scores[5] = 7, 9
    network.split(network.most_conflicting())
    assert network.chosen == [2, 5]
    for depth, row in enumerate(network.plan().table):
        assert row == ((0, 1, 2) if depth in (2, 5) else (0, 0, 0))
    check_owners(network, batch())
    assert len(network.parts()) == 1
    fresh = build(Recon)
    for task, head in network.heads.items():
        for mine, initial in zip(head.parameters(), fresh.heads[task].parameters(), strict=True):
            assert torch.equal(mine, initial)
    other = build(Recon)
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    assert other.plan() == network.plan() and other.artefacts() == network.artefacts()
