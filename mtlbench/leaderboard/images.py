"""The noise of the test set: primary metrics of two networks under resampling of their common test images."""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtlbench.records import Record, TaskCard
from mtlbench.statistics.intervals import Interval, paired_bootstrap


@dataclass(frozen=True)
class ImageNoise:
    """What a bootstrap over images says of one task: the difference (second − first), or why there is none."""

    task: str
    metric: str
    difference: Interval | None
    reason: str = ""


def image_noise(first: Record, second: Record, draws: int = 1000) -> list[ImageNoise]:
    """Every task's primary metric, clustered by scene where scenes are known.

    Recomputed from the per-image statistics in the records through the task's own `summarise`. This is the noise of the
    test set for two networks as they are, not that of training them again. Images are paired by their place, so both
    records must be of the same prepared data.
    """
    prepared = [_fingerprint(record) for record in (first, second)]
    if not prepared[0] or prepared[0] != prepared[1]:
        reason = "the records are of differently prepared data (protocol: dataset.fingerprint)"
        return [ImageNoise(card.name, card.primary, None, reason) for card in first.tasks]
    return [_task(first, second, card, draws) for card in first.tasks]


def _fingerprint(record: Record) -> str:
    """Of the prepared data; empty where the protocol card does not say."""
    dataset = record.protocol.get("dataset")
    return str(dataset.get("fingerprint") or "") if isinstance(dataset, Mapping) else ""


def _task(first: Record, second: Record, card: TaskCard, draws: int) -> ImageNoise:
    try:
        statistics = [
            {name: packed.unpack() for name, packed in record.result.images.get(card.name, {}).items()}
            for record in (first, second)
        ]
    except (TypeError, ValueError, zlib.error) as error:
        return ImageNoise(card.name, card.primary, None, f"per-image statistics cannot be unpacked ({error})")
    if not all(statistics):
        return ImageNoise(card.name, card.primary, None, "a record has no per-image statistics")
    counts = {len(array) for named in statistics for array in named.values()}
    if len(counts) > 1:
        return ImageNoise(card.name, card.primary, None, "the records are of different test images")
    try:
        summarise = _summariser(first, card)
        for record, named in zip((first, second), statistics, strict=True):
            total = summarise({name: array.sum(axis=0) for name, array in named.items()})
            recorded = record.result.test.metrics[card.name][card.primary]
            if not math.isclose(total, recorded, rel_tol=1e-5, abs_tol=1e-8):
                reason = f"its statistics give {total:g}, the record says {recorded:g}"
                return ImageNoise(card.name, card.primary, None, reason)
    except (KeyError, TypeError, ValueError, LookupError) as error:
        return ImageNoise(card.name, card.primary, None, f"cannot be recomputed ({error})")
    scenes = first.result.scenes if len(first.result.scenes) in counts else []
    return ImageNoise(card.name, card.primary, paired_bootstrap(statistics[0], statistics[1], summarise, scenes, draws))


def _summariser(record: Record, card: TaskCard) -> Callable[[dict[str, np.ndarray]], float]:
    """The primary metric from sums of statistics, by the task kind that the record names.

    Raises:
        LookupError: no such kind here.
    """
    import torch

    from mtlbench import tasks

    kinds = {getattr(kind, "kind", None): kind for kind in vars(tasks).values() if inspect.isclass(kind)}
    if card.kind not in kinds:
        raise LookupError(f"no task kind {card.kind!r}")
    kind: Any = kinds[card.kind]
    accepted = inspect.signature(kind.__init__).parameters
    given = {"name": card.name, "channels": _channels(record.protocol, card.name)}
    task = kind(**{name: value for name, value in given.items() if name in accepted})

    def summarise(totals: dict[str, np.ndarray]) -> float:
        return float(task.summarise({name: torch.as_tensor(array) for name, array in totals.items()})[card.primary])

    return summarise


def _channels(protocol: Mapping[str, Any], task: str) -> int:
    """Output channels of a task, as the protocol card has them; 1 where it does not say."""
    described = protocol.get("dataset", {}).get("tasks", [])
    return next((int(one.get("channels", 1)) for one in described if one.get("name") == task), 1)
