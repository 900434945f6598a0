"""The bootstrap over test images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mtlbench.statistics.bootstrap import paired_bootstrap


def mean_error(totals: Mapping[str, np.ndarray]) -> float:
    return float(totals["sum"] / totals["count"])


def test_it_is_paired_and_clusters_scenes() -> None:
    generator = np.random.default_rng(0)
    hard = np.repeat(generator.gamma(2, 1, 30), 2)
    first = {"sum": hard, "count": np.ones(60)}
    second = {"sum": hard - 0.1 + 0.01 * generator.standard_normal(60), "count": np.ones(60)}
    alone = paired_bootstrap(first, second, mean_error, draws=200)
    assert alone.mean == pytest.approx(
        mean_error({name: array.sum() for name, array in second.items()})
        - mean_error({name: array.sum() for name, array in first.items()})
    )
    assert alone.high < 0, "a small difference on equal images is seen, however much images differ"
    shuffled = {"sum": generator.permutation(second["sum"]), "count": np.ones(60)}
    assert paired_bootstrap(first, shuffled, mean_error, draws=200).half > 5 * alone.half
    scenes = [f"s{i // 2}" for i in range(60)]
    nothing = {"sum": np.zeros(60), "count": np.ones(60)}
    clustered = paired_bootstrap(nothing, first, mean_error, scenes, draws=200)
    independent = paired_bootstrap(nothing, first, mean_error, draws=200)
    assert clustered.n == 30
    assert independent.half < clustered.half, "two images of one scene are one piece of evidence here"


def test_it_repeats_to_the_bit_and_keeps_shapes() -> None:
    generator = np.random.default_rng(3)
    first, second = ({"confusion": generator.integers(0, 9, (8, 3, 3))} for _ in range(2))

    def accuracy(totals: Mapping[str, np.ndarray]) -> float:
        assert totals["confusion"].shape == (3, 3)
        return float(np.trace(totals["confusion"]) / totals["confusion"].sum())

    once, again = (paired_bootstrap(first, second, accuracy, [None] * 8, draws=50) for _ in range(2))
    assert once == again


def test_it_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="unequal numbers of images"):
        paired_bootstrap({"a": np.ones(3)}, {"a": np.ones(4)}, lambda totals: 0.0)
    with pytest.raises(ValueError, match="2 scenes for 3 images"):
        paired_bootstrap({"a": np.ones(3)}, {"a": np.ones(3)}, lambda totals: 0.0, ["x", "y"])
