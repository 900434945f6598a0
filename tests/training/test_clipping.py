"""Clipping: the bound holds for each independent part of the network, as if each were trained alone."""

from __future__ import annotations

import pytest
import torch

from mtlbench.contract import Architecture, MultiTaskNetwork
from mtlbench.methods.equal import Equal
from mtlbench.methods.hard_sharing import HardSharing
from mtlbench.methods.single_task import SingleTask
from mtlbench.methods.uncertainty import Uncertainty
from tests.tiny import batch, build, dense_tasks, run, strategy

BOUND = 1e-3


def moved(network: Architecture, tasks: tuple[str, ...], start: dict[str, torch.Tensor]) -> float:
    """How far the parameters of these tasks are from where they were."""
    owners = network.owners()
    parts = [
        (weight.detach() - start[name]).flatten() for name, weight in network.named_parameters() if owners[name] & set(tasks)
    ]
    return float(torch.cat(parts).norm())


@pytest.mark.parametrize("cls", [SingleTask, HardSharing])
def test_every_independent_part_is_clipped_by_itself(cls: type[Architecture]) -> None:
    network = build(cls)
    start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    equal = strategy(Equal, network, run(name="sgd", lr=1.0, momentum=0.0, clip=BOUND))
    equal.step(batch())
    for part in network.parts():
        assert moved(network, part, start) == pytest.approx(BOUND, rel=1e-3)
    assert len(network.parts()) == (len(dense_tasks()) if cls is SingleTask else 1)


def test_a_task_that_explodes_leaves_the_other_networks_as_they_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    first, others = dense_tasks()[0].name, [task.name for task in dense_tasks()[1:]]
    healthy, broken = build(SingleTask), build(SingleTask)
    losses = MultiTaskNetwork.losses

    def exploding(self: MultiTaskNetwork, *arguments: object) -> dict[str, torch.Tensor]:
        values = losses(self, *arguments)  # type: ignore[arg-type]
        return {**values, first: values[first] * float("nan")} if self is broken else values

    monkeypatch.setattr(MultiTaskNetwork, "losses", exploding)
    for network in (healthy, broken):
        strategy(Equal, network, run(name="sgd", lr=0.1, momentum=0.0, clip=BOUND)).step(batch())
    owners, expected = healthy.owners(), dict(healthy.named_parameters())
    for name, weight in broken.named_parameters():
        if owners[name] <= set(others):
            assert torch.equal(weight, expected[name])
        else:
            assert not weight.isfinite().all()


def test_what_a_strategy_learns_is_neither_clipped_nor_counted() -> None:
    network = build(HardSharing)
    start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    uncertainty = strategy(Uncertainty, network, run(name="sgd", lr=1.0, momentum=0.0, clip=BOUND))
    before = [weight.detach().clone() for weight in uncertainty.parameters()]
    uncertainty.step(batch())
    assert moved(network, tuple(network.tasks), start) == pytest.approx(BOUND, rel=1e-3)
    learned = [float((now - then).detach().norm()) for now, then in zip(uncertainty.parameters(), before, strict=True)]
    assert max(learned) > BOUND
