"""A bootstrap over test images, for what it measures: the noise of the test set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mtlbench.statistics.intervals import LEVEL, Interval

Summarise = Callable[[dict[str, np.ndarray]], float]
"""From the sums of per-image statistics over a set of images to one number, such as a metric."""


def paired_bootstrap(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    summarise: Summarise,
    scenes: Sequence[str | None] = (),
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The difference (second − first) of a set-level metric under resampling of the test images.

    Images are drawn with replacement, the same ones for both; with `scenes`, whole scenes are drawn, since images of
    one scene are no independent evidence. It measures the noise of the *test set* for two networks as they
    are; it knows nothing of the noise of training.

    Args:
        first, second: statistic → array [images, ...], as a record keeps them.
        summarise: metric from the sums over images.
        scenes: one name per image, None where unknown (such an image is a scene of its own); empty: images alone.
        draws: bootstrap samples. A percentile interval of the differences is taken.

    Returns:
        `mean` is the difference on the whole set, `half` half the width of the percentile interval, `n` the clusters.
    """
    images = len(next(iter(first.values())))
    for name, arrays in (("first", first), ("second", second)):
        if any(len(array) != images for array in arrays.values()):
            raise ValueError(f"paired_bootstrap: {name}: statistics of unequal numbers of images")
    cluster = _clusters(scenes, images)
    n = int(cluster.max()) + 1
    sums = [{name: _cluster_sums(array, cluster, n) for name, array in arrays.items()} for arrays in (first, second)]
    shapes = [{name: array.shape[1:] for name, array in arrays.items()} for arrays in (first, second)]

    def metric(counts: np.ndarray, side: int) -> float:
        totals = {name: (counts @ table).reshape(shapes[side][name]) for name, table in sums[side].items()}
        return summarise(totals)

    ones = np.ones(n)
    difference = metric(ones, 1) - metric(ones, 0)
    if n < 2:
        return Interval(difference, math.nan, n)
    generator = np.random.default_rng(seed)
    sampled = np.empty(draws)
    for draw in range(draws):
        counts = np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64)
        sampled[draw] = metric(counts, 1) - metric(counts, 0)
    low, high = np.nanquantile(sampled, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(difference, float(high - low) / 2, n)


def _clusters(scenes: Sequence[str | None], images: int) -> np.ndarray:
    """Cluster number of every image, counted from 0 in order of appearance."""
    if not scenes:
        return np.arange(images)
    if len(scenes) != images:
        raise ValueError(f"paired_bootstrap: {len(scenes)} scenes for {images} images")
    numbers: dict[object, int] = {}
    keys: list[object] = [scene if scene is not None else ("alone", position) for position, scene in enumerate(scenes)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _cluster_sums(array: np.ndarray, cluster: np.ndarray, n: int) -> np.ndarray:
    """Sums of per-image statistics over the images of each cluster, [n, number of elements], float64."""
    flat = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
    sums = np.zeros((n, flat.shape[1]))
    np.add.at(sums, cluster, flat)
    return sums
