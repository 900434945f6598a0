"""Fewer labels: the same for every method, nested over shares, invalid to every loss, and no image is lost."""

from __future__ import annotations

import pytest
import torch

from mtlbench.data.label_share import with_fewer_labels
from mtlbench.data.split import Split
from mtlbench.data.store import prepare
from mtlbench.tasks.meter import Meter
from tests.data.toys import toy

SHARES = (0.1, 0.5, 1.0)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return prepare(toy(size=40), "toy", tmp_path_factory.mktemp("cache")).splits["train"]


def test_shares_are_exact_per_task_nested_and_drawn_independently(split: Split) -> None:
    few, half, every = (with_fewer_labels(split, share, seed=3).labelled for share in SHARES)
    assert every is split.labelled
    for task in split.tasks:
        total = int(split.labelled[task.name].sum())
        if task.from_image:
            assert torch.equal(few[task.name], split.labelled[task.name])
            continue
        assert [int(flags[task.name].sum()) for flags in (few, half)] == [-(-total // 10), -(-total // 2)]
        assert not (few[task.name] & ~half[task.name]).any() and not (half[task.name] & ~every[task.name]).any()
    assert not torch.equal(half["segmentation"], half["normals"])
    assert not torch.equal(half["normals"], with_fewer_labels(split, 0.5, seed=4).labelled["normals"])


def test_hidden_labels_are_invalid_and_kept_ones_are_as_they_were(split: Split) -> None:
    reduced, indices = with_fewer_labels(split, 0.5, seed=0), torch.arange(len(split))
    whole, batch = split.batch(indices), reduced.batch(indices)
    assert torch.equal(whole.image, batch.image)
    for task in split.tasks:
        kept = batch.labelled[task.name]
        target, before = batch.targets[task.name], whole.targets[task.name]
        torch.testing.assert_close(target[kept], before[kept], equal_nan=True, rtol=0, atol=0)
        if task.from_image:
            continue
        meter = Meter(task)
        hidden = target[~kept]
        meter.update(torch.zeros(len(hidden), task.channels, *target.shape[-2:] if task.dense else ()), hidden)
        assert all(value != value for value in meter.compute().values()), f"{task.name} still has labels"
    # The split that it came from still has all labels.
    assert torch.equal(split.batch(indices).targets["kind"], whole.targets["kind"])


def test_one_image_keeps_its_label_at_least(split: Split) -> None:
    assert int(with_fewer_labels(split, 1e-6, seed=0).labelled["kind"].sum()) == 1
