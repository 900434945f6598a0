"""Maximum roaming: masks, their updates, and shared parameters with statistics per task."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtlbench.contract import Batch
from mtlbench.methods.equal import Equal
from mtlbench.methods.maximum_roaming import MaximumRoaming, Roaming
from mtlbench.methods.maximum_roaming.masks import MaskedNorm, initial_mask
from tests.tiny import batch, build, dense_tasks, run, shuffled, strategy


@pytest.mark.parametrize(("channels", "tasks", "share", "active"), [(16, 3, 0.8, 13), (64, 8, 0.3, 20), (20, 2, 0.6, 12)])
def test_initial_masks_cover_all_channels(channels: int, tasks: int, share: float, active: int) -> None:
    """The numbers of active channels are those of the official code."""
    draws = torch.Generator().manual_seed(0)
    masks = torch.stack([initial_mask(channels, number, tasks, share, draws) for number in range(tasks)])
    assert masks.any(0).all() and masks.sum(1).tolist() == [active] * tasks


def test_every_task_has_a_channel_of_its_own_however_small_the_share() -> None:
    draws = torch.Generator().manual_seed(0)
    masks = torch.stack([initial_mask(12, number, 3, 0.01, draws) for number in range(3)])
    assert masks.sum(0).tolist() == [1] * 12  # a partition


def test_roaming_visits_every_channel_and_keeps_their_number() -> None:
    layer = MaskedNorm(nn.BatchNorm2d(10), torch.arange(10) < 6)
    draws = torch.Generator().manual_seed(0)
    for visited in (7, 8, 9, 10, 10):
        before = layer.mask.clone()
        layer.roam(draws)
        assert int(layer.mask.sum()) == 6 and int(layer.used.sum()) == visited
        assert int((layer.mask - before).abs().sum()) == (2 if visited < 10 or before.ne(layer.mask).any() else 0)
    assert torch.equal(layer.mask, before)  # nothing is left to visit


def test_masked_channels_are_zero_and_get_no_gradient() -> None:
    layer = MaskedNorm(nn.BatchNorm2d(4), torch.tensor([True, False, True, False]))
    images = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    output = layer(images)
    torch.testing.assert_close(output[:, [0, 2]], layer.norm(images)[:, [0, 2]])
    assert not output[:, [1, 3]].any()
    output.square().sum().backward()
    assert images.grad is not None and not images.grad[:, [1, 3]].any()
    assert layer.norm.bias.grad[[1, 3]].tolist() == [0.0, 0.0]  # type: ignore[index]


def test_trunks_share_parameters_and_no_statistics() -> None:
    network = build(MaximumRoaming)
    first, *others = network.trunks.values()
    for trunk in others:
        assert all(mine is theirs for mine, theirs in zip(trunk.parameters(), first.parameters(), strict=True))
    single = sum(weight.numel() for weight in first.parameters())
    assert sum(weight.numel() for weight in network.trunks.parameters()) == single
    means = [network.layers(task)[0].norm.running_mean for task in network.tasks]
    assert len({id(mean) for mean in means}) == 3
    assert sum(isinstance(module, nn.BatchNorm2d) for module in first.modules()) == len(network.layers("depth"))
    # With all channels in use it is hard sharing.
    whole = build(MaximumRoaming, share=1.0).eval()
    maps = whole.features(batch().image, list(whole.tasks))
    expected = whole.new_backbone().eval()(batch().image)
    for task in whole.tasks:
        torch.testing.assert_close(maps[task][-1], expected[-1])
    assert whole.updates() == 0


def test_masks_do_not_depend_on_the_order_of_tasks() -> None:
    network, other = build(MaximumRoaming), build(MaximumRoaming, tuple(shuffled(list(dense_tasks()))))
    for task in network.tasks:
        for mine, theirs in zip(network.layers(task), other.layers(task), strict=True):
            assert torch.equal(mine.mask, theirs.mask)


def test_all_channels_are_visited_in_the_first_half() -> None:
    network, the_run = build(MaximumRoaming, share=0.5), run(4)
    (phase,) = network.phases(the_run, strategy(Equal, network, the_run))
    assert isinstance(phase, Roaming) and phase.updates == network.updates() == 64
    phase.prepare()
    visited = []
    for epoch in range(4):
        (each,) = phase.passes(epoch)
        for number in range(3):  # of four batches; the fourth is left out
            each.step(batch(seed=number))
        assert phase.due() == min(64, round(64 * (epoch + 0.75) / 2))
        visited.append(phase.end_epoch(epoch, {})["channels visited"])
    assert 0.5 < visited[0] < 1.0 and visited[1:] == [1.0, 1.0, 1.0]


def test_updates_come_after_steps() -> None:
    network, the_run = build(MaximumRoaming), run(1)
    (phase,) = network.phases(the_run, strategy(Equal, network, the_run))
    assert isinstance(phase, Roaming)
    seen: list[int] = []
    phase.prepare()
    (each,) = phase.passes(0)
    step = phase.strategy.step

    def watched(images: Batch) -> dict[str, torch.Tensor]:
        seen.append(phase.due())
        return step(images)

    phase.strategy.step = watched  # type: ignore[method-assign]
    each.step(batch())
    assert seen == [0] and phase.due() > 0
