"""Batches of an epoch: the same images in the same order with the same augmentation, however they are read."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation
from mtlbench.data import order
from mtlbench.data.loader import Loader
from mtlbench.data.split import Split
from mtlbench.data.store import prepare
from tests.data.toys import toy

AUGMENTATION = Augmentation((1.0, 1.2, 1.5), flip=True)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return prepare(toy(size=22), "toy", tmp_path_factory.mktemp("cache")).splits["train"]


def loader(split: Split, size: int = 8, seed: int = 0, augmentation: Augmentation = AUGMENTATION) -> Loader:
    return Loader(split, split.tasks, size, seed, augmentation=augmentation)


def tensors_by_sample(batches: Iterable[Batch]) -> dict[int, tuple[Tensor, ...]]:
    """Sample → its augmented tensors."""
    return {
        int(position): (batch.image[row], *(batch.targets[name][row] for name in sorted(batch.targets)))
        for batch in batches
        for row, position in enumerate(batch.index)
    }


def test_an_epoch_visits_in_the_order_of_its_permutation(split: Split) -> None:
    for epoch in range(2):
        batches = list(loader(split).epoch(epoch, drop_last=False))
        assert [len(batch) for batch in batches] == [8, 8, 6]
        assert torch.equal(torch.cat([batch.index for batch in batches]), order.permutation(0, epoch, 22))


def test_batch_size_and_passes_change_nothing(split: Split) -> None:
    eights = tensors_by_sample(loader(split, 8).epoch(3, drop_last=False))
    used = loader(split, 5)
    list(used.epoch(0))
    list(used.plain())
    fives = tensors_by_sample(used.epoch(3, drop_last=False))
    assert eights.keys() == fives.keys() == set(range(22))
    assert all(torch.equal(a, b) for image in eights for a, b in zip(eights[image], fives[image], strict=True))


def test_epochs_and_seeds_differ(split: Split) -> None:
    base = tensors_by_sample(loader(split).epoch(0, drop_last=False))
    for other in (loader(split).epoch(1, drop_last=False), loader(split, seed=1).epoch(0, drop_last=False)):
        moved = tensors_by_sample(other)
        assert any(not torch.equal(base[image][0], moved[image][0]) for image in base)


def test_incomplete_batches(split: Split) -> None:
    assert [len(batch) for batch in loader(split).epoch(0)] == [8, 8]
    assert [len(batch) for batch in loader(split, 100).epoch(0)] == [22]
    assert [len(batch) for batch in loader(split).epoch(0, torch.tensor([3, 9]))] == [2]
    assert [loader(split, size).batches() for size in (8, 11, 22, 100)] == [2, 2, 1, 1]
    assert loader(split).batches(drop_last=False) == 3 and loader(split).batches(2) == 1
    assert loader(split).batches(0) == 0 == len(list(loader(split).epoch(0, torch.tensor([], dtype=torch.int64))))


def test_parts_stay_within_and_keep_their_augmentation(split: Split) -> None:
    part = order.part(0, 22, 0.5, 1)
    inside = tensors_by_sample(loader(split, 4).epoch(2, part, drop_last=False))
    whole = tensors_by_sample(loader(split).epoch(2, drop_last=False))
    assert set(inside) == set(part.tolist())
    assert all(torch.equal(a, b) for image in inside for a, b in zip(inside[image], whole[image], strict=True))


def test_plain_batches_are_in_order_unaugmented_and_complete(split: Split) -> None:
    batches = list(loader(split).plain(batch_size=10))
    assert [len(batch) for batch in batches] == [10, 10, 2]
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(22))
    assert torch.equal(torch.cat([batch.image for batch in batches]), split.batch(torch.arange(22)).image)
    chosen = torch.tensor([5, 1, 20])
    assert torch.equal(next(loader(split).plain(chosen)).index, chosen)


def test_an_empty_batch_size_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="at least one"):
        loader(split, 0)
