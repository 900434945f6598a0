"""Sluice networks: equations on small cases."""

from __future__ import annotations

import torch

from mtlbench.methods.single_task import SingleTask
from mtlbench.methods.sluice import Sluice, SluiceNetworks, last_convolutions, overlap
from tests.tiny import batch, build, dense_tasks


def test_halves_are_mixed_by_alpha() -> None:
    sluice = Sluice(tasks=2, own_weight=0.7)
    torch.testing.assert_close(sluice.alpha.sum(1), torch.ones(4))
    alpha = torch.arange(16.0).view(4, 4)
    sluice.alpha.data = alpha
    maps = [torch.rand(2, 6, 3, 4) for _ in range(2)]
    halves = [maps[0][:, :3], maps[0][:, 3:], maps[1][:, :3], maps[1][:, 3:]]
    mixed = sluice(maps)
    for target, half in enumerate([mixed[0][:, :3], mixed[0][:, 3:], mixed[1][:, :3], mixed[1][:, 3:]]):
        expected = sum(float(alpha[target, source]) * halves[source] for source in range(4))
        torch.testing.assert_close(half, torch.as_tensor(expected), rtol=1e-5, atol=1e-4)


def test_overlap_is_zero_for_orthogonal_halves_alone() -> None:
    orthogonal = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q
    assert float(overlap(orthogonal[:4].view(4, 8, 1, 1))) < 1e-10
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert float(overlap(weight.view(2, 2, 1, 1))) == (3 + 8) ** 2


def test_without_mixing_it_is_single_task_networks() -> None:
    net, single = build(SluiceNetworks, own_weight=1.0).eval(), build(SingleTask).eval()
    image = batch().image
    for task, prediction in single(image).items():
        torch.testing.assert_close(net(image)[task], prediction, rtol=1e-4, atol=1e-5)


def test_the_constraint_is_part_of_each_tasks_loss() -> None:
    plain, held = (build(SluiceNetworks, orthogonality=weight).train() for weight in (0.0, 0.5))
    without, with_constraint = plain.losses(batch()), held.losses(batch())
    for task in without:
        total = sum(float(overlap(layer.weight.detach())) for layer in last_convolutions(held.trunks[task]))
        torch.testing.assert_close((with_constraint[task] - without[task]).item(), 0.5 * total, rtol=1e-4, atol=1e-4)


def test_no_weight_is_exchanged_at_own_weight_one() -> None:
    net = build(SluiceNetworks, own_weight=1.0)
    tasks = len(dense_tasks())
    assert len(net.exchange()) == tasks * (tasks - 1) * len(net.stage_channels)
    assert not any(edge.weight for edge in net.exchange())
