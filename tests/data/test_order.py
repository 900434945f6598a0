"""Order and draws belong to (seed, epoch, image) alone."""

import numpy as np
import pytest
import torch

from mtlbench.data import order


@pytest.mark.parametrize("n", [1, 2, 17, 1000])
def test_permutation_visits_every_image_once(n: int) -> None:
    for epoch in range(3):
        assert torch.equal(order.permutation(5, epoch, n).sort().values, torch.arange(n))


def test_seeds_and_epochs_give_other_orders_and_repeat_exactly() -> None:
    orders = [order.permutation(seed, epoch, 100) for seed in (0, 1, -1, 2**63) for epoch in range(3)]
    assert len({tuple(images.tolist()) for images in orders}) == len(orders)
    assert torch.equal(orders[0], order.permutation(0, 0, 100))


def test_a_subset_keeps_the_order_of_the_whole() -> None:
    whole = order.permutation(3, 7, 200)
    subset = torch.arange(0, 200, 3)
    kept = whole[torch.isin(whole, subset)]
    assert torch.equal(order.shuffled(3, 7, subset.flip(0)), kept)


def test_draws_depend_on_the_image_not_on_its_company() -> None:
    together = order.uniform(1, order.AUGMENTATION, 4, np.arange(50), draws=3)
    for image in (0, 13, 49):
        assert np.array_equal(order.uniform(1, order.AUGMENTATION, 4, [image], draws=3)[0], together[image])


def test_draws_are_uniform_and_uncorrelated() -> None:
    random = order.uniform(0, order.AUGMENTATION, 0, np.arange(20000), draws=4)
    assert random.min() >= 0 and random.max() < 1
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in random.T])
    assert np.abs(counts - 1000).max() < 5 * 1000**0.5
    other = order.uniform(0, order.AUGMENTATION, 1, np.arange(20000), draws=4)
    assert np.abs(np.corrcoef(np.concatenate([random, other], 1).T) - np.eye(8)).max() < 0.04


def test_parts_are_disjoint_complete_and_fixed() -> None:
    first, second = order.part(2, 101, 0, 0.8), order.part(2, 101, 0.8, 1)
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(101))
    assert len(first) == 81 and torch.equal(first, order.part(2, 101, 0, 0.8))
    assert not torch.equal(first, order.part(3, 101, 0, 0.8))
    with pytest.raises(ValueError, match="start"):
        order.part(0, 10, 0.5, 0.2)


def test_golden_values_hold_on_every_machine() -> None:
    assert order.permutation(0, 0, 8).tolist() == [3, 1, 2, 5, 7, 6, 0, 4]
    assert order.bits(1, order.ORDER, 2, [3])[0, 0] == 0x264D1D131658514E
