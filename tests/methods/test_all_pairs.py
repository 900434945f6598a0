"""Every architecture trains with every strategy, or the pair is refused with the reason."""

from __future__ import annotations

import pytest
import torch

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import UserError
from tests.tiny_methods import batches, make, make_run, network, snapshot, train_phases

REGISTRY = Registry()
PAIRS = [(architecture, strategy) for architecture in REGISTRY.architectures() for strategy in REGISTRY.strategies()]
ONE_OF_EACH_KIND = ("pcgrad", "famo", "gradnorm", "alternating")
"""Jacobian; second forward pass; last shared layer; steps in turn."""


def is_refused(architecture: str, strategy: str) -> bool:
    """Whether the pair is refused, which happens for one reason only."""
    try:
        resolve(f"{architecture}+{strategy}", {}, REGISTRY)
    except UserError as error:
        assert "means nothing" in str(error)
        assert REGISTRY.strategy(strategy).cls.needs_sharing and not REGISTRY.architecture(architecture).cls.shares
        return True
    return False


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "strategy"), PAIRS)
def test_a_pair_steps_or_is_refused(architecture: str, strategy: str) -> None:
    if is_refused(architecture, strategy):
        return
    net = network(architecture)
    before, started = snapshot(net), make(strategy, net, make_run())
    for batch in batches(2):
        losses = started.step(batch)
        assert list(losses) == list(net.tasks) and all(bool(loss.isfinite()) for loss in losses.values())
    after = snapshot(net)
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    for task in net.tasks:
        own = net.owners()
        assert any(not torch.equal(after[name], before[name]) for name, owners in own.items() if task in owners)


@pytest.mark.long
@pytest.mark.parametrize("architecture", REGISTRY.architectures())
@pytest.mark.parametrize("strategy", ONE_OF_EACH_KIND)
def test_a_pair_trains_through_the_architectures_phases(strategy: str, architecture: str) -> None:
    if is_refused(architecture, strategy):
        return
    net = network(architecture)
    train_phases(net, make(strategy, net, make_run(epochs=max(8, net.minimum_epochs))))
    assert all(bool(weight.isfinite().all()) for weight in net.parameters())
