"""Planted: the labels follow the factors as stated, and the agreement score knows the right sharing from the wrong."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from mtlbench.config.settings import make_settings
from mtlbench.contract.dataset import BadSample
from mtlbench.data.sample_validation import validate_sample
from mtlbench.datasets.planted import Planted
from mtlbench.errors import UserError
from mtlbench.networks.plan import SharingPlan

DEPTHS = ("a", "b", "c")


def planted(**options: Any) -> Planted:
    return Planted(None, Planted.configure({"train": 400, "val": 60, "test": 60, **options}, "planted"))


def labels(dataset: Planted, split: str) -> dict[str, np.ndarray]:
    samples = [dataset.load(key) for key in dataset.index()[split]]
    return {task.name: np.array([int(sample[task.name]) for sample in samples]) for task in dataset.tasks}


def agreement(dataset: Planted, plan: SharingPlan) -> float:
    return dataset.measures(plan)["planted_agreement"]


def tree(dataset: Planted, *partitions: Any) -> SharingPlan:
    return SharingPlan.from_groups(DEPTHS, [task.name for task in dataset.tasks], partitions)


def test_samples_are_as_declared_and_repeat() -> None:
    dataset, again, other = planted(), planted(), planted(seed=1)
    for split, keys in dataset.index().items():
        for key in keys[:5]:
            sample = dataset.load(key)
            validate_sample(sample, dataset.tasks, dataset.image_size)
            assert all(np.array_equal(sample[name], again.load(key)[name]) for name in sample)
            assert not np.array_equal(sample["image"], other.load(key)["image"])
        assert not np.array_equal(dataset.load((split, 0))["image"], dataset.load((split, 1))["image"])
    make_settings("planted", dataset.defaults)
    with pytest.raises(BadSample, match="no sample"):
        dataset.load("train")


def test_groups_families_and_noise_are_as_stated() -> None:
    dataset = planted(groups=(3, 1, 2), conflict=1, noisy=2, noise=0.3)
    assert dataset.planted_groups == (
        ("place_1", "place_2", "place_3"),
        ("texture_1",),
        ("against_place_1", "against_place_2"),
    )
    assert [question.name for question in dataset.questions if question.noisy] == ["place_3", "texture_1"]


def test_answers_follow_the_definition() -> None:
    dataset = planted(spread=30.0, classes=3)
    rng = np.random.default_rng(0)
    plain, against = dataset.questions[0], dataset.questions[4]
    assert (plain.family, against.family) == (0, 0) and against.against
    assert np.rad2deg(dataset.questions[1].angle - plain.angle) == pytest.approx(30)
    counts = np.zeros((3, 3))
    for factors in rng.standard_normal((3000, 4, 2)):
        counts[dataset.answer(plain, factors), dataset.answer(against, factors)] += 1
    # Each class as often, and knowing the plain class says nothing about which of the finer ones it is, half a range apart.
    assert np.abs(counts.sum(0) / 3000 - 1 / 3).max() < 0.04 and np.abs(counts.sum(1) / 3000 - 1 / 3).max() < 0.04
    along = np.array([np.cos(plain.angle), np.sin(plain.angle)])
    steps = [dataset.answer(plain, np.tile(along * s, (4, 1))) for s in np.linspace(-4, 4, 60)]
    assert steps == sorted(steps) and set(steps) == {0, 1, 2}
    folded = [dataset.answer(against, np.tile(along * s, (4, 1))) for s in np.linspace(-4, 4, 400)]
    assert np.count_nonzero(np.diff(folded)) == 5


def test_label_noise_is_in_train_only_and_of_the_stated_share() -> None:
    clean, noisy = planted(noisy=0), planted(noisy=2, noise=0.5)
    for split in ("train", "test"):
        before, after = labels(clean, split), labels(noisy, split)
        for question in noisy.questions:
            changed = np.mean(before[question.name] != after[question.name])
            assert changed == pytest.approx(0.5, abs=0.08) if question.noisy and split == "train" else changed == 0


def test_tasks_of_a_group_agree_more_than_others() -> None:
    label = labels(planted(noisy=0), "train")
    assert np.mean(label["texture_1"] == label["texture_2"]) > 0.6
    assert np.mean(label["texture_1"] == label["place_1"]) < 0.35


def test_impossible_groups_are_refused() -> None:
    for options in ({"groups": (2, 2), "conflict": 2}, {"groups": (1,) * 8, "conflict": 2}):
        with pytest.raises(UserError, match="at most 4 plain groups"):
            planted(**options)
    with pytest.raises(UserError, match="out of range"):
        planted(groups=(2,))


def test_agreement_is_one_for_the_planted_tree_however_late_it_branches() -> None:
    dataset = planted()
    truth, everyone = dataset.planted_groups, (tuple(task.name for task in dataset.tasks),)
    alone = tuple((task.name,) for task in dataset.tasks)
    for partitions in ((truth,) * 3, (everyone, truth, truth), (everyone, everyone, truth), (everyone, truth, alone)):
        assert agreement(dataset, tree(dataset, *partitions)) == 1
    wrong = tuple(zip(*truth, strict=True))
    assert agreement(dataset, tree(dataset, everyone, wrong, wrong)) < 0


def test_plans_without_choice_agree_by_chance() -> None:
    dataset = planted()
    names = [task.name for task in dataset.tasks]
    for plan in (SharingPlan.shared(DEPTHS, names), SharingPlan.private(DEPTHS, names)):
        assert agreement(dataset, plan) == 0


def test_select_or_skip_plans_are_scored_by_their_common_blocks() -> None:
    dataset = planted()
    names = tuple(task.name for task in dataset.tasks)
    right = SharingPlan(
        DEPTHS, names, ((0, 0, None, None, None, None), (None, None, 0, 0, None, None), (None,) * 4 + (0, 0))
    )
    assert agreement(dataset, right) == 1
    scores = dataset.measures(right)
    assert scores["planted_within"] == 1 and scores["planted_across"] == 0
    nothing = SharingPlan(DEPTHS, names, ((None,) * 6,) * 3)
    assert agreement(dataset, nothing) == 0


def test_chance_is_zero_and_order_and_names_of_variants_do_not_matter() -> None:
    dataset = planted(groups=(2, 2), conflict=0)
    names = tuple(task.name for task in dataset.tasks)
    table = ((0, 0, 1, None), (0, 1, 1, 2), (None, 0, 0, 0))
    over_all = [agreement(dataset, SharingPlan(DEPTHS, order, table)) for order in permutations(names)]
    assert np.mean(over_all) == pytest.approx(0) and max(over_all) > 0
    plan = SharingPlan(DEPTHS, names, table)
    renamed = SharingPlan(DEPTHS, names, tuple(tuple(e if e is None else 7 - e for e in row) for row in table))
    turned = SharingPlan(DEPTHS, names[::-1], tuple(row[::-1] for row in table))
    assert agreement(dataset, plan) == agreement(dataset, renamed) == agreement(dataset, turned)


def test_without_a_pair_in_any_group_there_is_no_score() -> None:
    dataset = planted(groups=(1, 1), conflict=0)
    assert dataset.measures(SharingPlan.shared(DEPTHS, [task.name for task in dataset.tasks])) == {}
