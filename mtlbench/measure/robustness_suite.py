"""Which conditions a trial is evaluated under beside clean images, and the part of the protocol card that says so.

Everything that would make such an evaluation fail is found here, before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mtlbench.config.settings import Settings
from mtlbench.contract.dataset import Augmentation, Dataset
from mtlbench.errors import UserError, did_you_mean
from mtlbench.measure.corruptions import (
    COMMON,
    CORRUPTIONS,
    EXTRA,
    QUICK,
    QUICK_SEVERITIES,
    SEVERITIES,
    label,
    suite_version,
)
from mtlbench.measure.native import serves_native

OVERLAPS: Mapping[str, tuple[str, ...]] = {"zooms": (), "flip": ()}
"""Field of `Augmentation` → the corruptions that training with it anticipates: their cells are not evaluated then.

An augmentation anticipates a corruption when it applies the same operation. `zooms` does not anticipate zoom_blur: it
shows one scale at a time, each of them sharp, while zoom_blur averages many scales into one image, and what it takes away
is the sharpness. (Enlarging by up to 1.5 is bilinear and softens a little, which may help against every blur; it does so
for all methods of a protocol alike.) `flip` has no counterpart among the corruptions. A new field of `Augmentation` has to
be decided here: `disqualified` refuses one that is missing.
"""

ALL = "all"
"""Names the attack on the sum of all tasks' losses."""

PGD_STEP = 1.0
"""Step size of PGD in units of 1/255."""


@dataclass(frozen=True)
class Suite:
    """The cells of an evaluation under corruption: every corruption at every severity.

    Attributes:
        name: `quick`, `full` or `extra`.
        disqualified: corruption → why its cells are not evaluated.
    """

    name: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    disqualified: Mapping[str, str] = field(default_factory=dict)

    def cells(self) -> list[tuple[str, int]]:
        """(corruption, severity), in order."""
        return [(name, severity) for name in self.corruptions for severity in self.severities]

    def describe(self, own_textures: bool = False) -> list[dict[str, Any]]:
        """What tables and pictures need to know of each corruption, without importing any."""
        corruptions = [CORRUPTIONS[name] for name in self.corruptions]
        return [
            {
                "name": corruption.name,
                "label": label(corruption.name, own_textures=own_textures),
                "group": corruption.group,
                "keeps_geometry": corruption.keeps_geometry,
            }
            for corruption in corruptions
        ]


def reported_suite(settings: Settings, augmentation: Augmentation) -> Suite | None:
    """What test is evaluated under: 15 corruptions x 5 severities, or six x three; None when robustness is off.

    Args:
        augmentation: the one that training used.
    """
    if settings.robustness == "off":
        return None
    quick = settings.robustness == "quick"
    names, severities = (QUICK, QUICK_SEVERITIES) if quick else (COMMON, SEVERITIES)
    left_out = {name: reason for name, reason in disqualified(augmentation).items() if name in names}
    kept = tuple(name for name in names if name not in left_out)
    return Suite(settings.robustness, kept, severities, left_out)


def choosing_suite(settings: Settings) -> Suite | None:
    """The four extra corruptions, which are for choosing on val and are never reported as test; None when off."""
    if not settings.robustness_val:
        return None
    return Suite("extra", EXTRA, QUICK_SEVERITIES if settings.robustness == "quick" else SEVERITIES)


def disqualified(augmentation: Augmentation, overlaps: Mapping[str, tuple[str, ...]] = OVERLAPS) -> dict[str, str]:
    """Corruption → the augmentation that anticipates it. An augmentation left at its default anticipates nothing.

    Raises:
        KeyError: nobody has decided yet what a field of the augmentation overlaps with.
    """
    reasons: dict[str, str] = {}
    for option in fields(augmentation):
        anticipated = overlaps[option.name]
        if getattr(augmentation, option.name) != option.default:
            reasons.update(dict.fromkeys(anticipated, f"training augments with {option.name}"))
    return reasons


def pgd_steps(radius: float) -> int:
    """Steps of PGD for a radius in units of 1/255: ⌈max(1, min(ε + 4, 1.25 ε))⌉ (Kurakin et al., arXiv:1607.02533)."""
    return math.ceil(max(1.0, min(radius + 4, 1.25 * radius)))


def attacked(settings: Settings, tasks: Sequence[str]) -> tuple[str, ...]:
    """Whose losses are attacked in turn: task names, and `all`.

    Args:
        tasks: the names of the scored tasks.

    Raises:
        UserError: the settings name a task that the dataset does not have.
    """
    known = list(tasks) if len(tasks) == 1 or ALL in tasks else [*tasks, ALL]
    for name in settings.pgd_on:
        if name not in known:
            raise UserError(f"pgd_on: there is no task {name!r} to attack.{did_you_mean(name, known)}")
    return tuple(settings.pgd_on) or tuple(known)


def robustness_card(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """What the network is evaluated under beside clean images, for the protocol card.

    Raises:
        UserError: the images are smaller than the corruptions' kernels, the dataset has no native images to corrupt, the
            folder of ice textures cannot be used, or an unknown task is to be attacked.
    """
    augmentation = dataset.augmentation if settings.augment else Augmentation()
    test, val = reported_suite(settings, augmentation), choosing_suite(settings)
    card: dict[str, Any] = {"suite": settings.robustness}
    if test or val:
        _check(settings, dataset, (test.corruptions if test else ()) + (val.corruptions if val else ()))
        card |= {"version": suite_version(settings.frost_textures or None), "corrupt_at": settings.corrupt_at}
    if test:
        card |= {
            "corruptions": list(test.corruptions),
            "severities": list(test.severities),
            "disqualified": dict(test.disqualified),
        }
    if val:
        card["val"] = {"corruptions": list(val.corruptions), "severities": list(val.severities)}
    if settings.pgd:
        card["pgd"] = {
            "norm": "L-infinity",
            "unit": "1/255",
            "radii": list(settings.pgd),
            "steps": [settings.pgd_steps or pgd_steps(radius) for radius in settings.pgd],
            "step": PGD_STEP,
            "start": "uniform in the ball",
            "on": list(attacked(settings, [task.name for task in settings.scored(dataset.tasks)])),
        }
    return card


def _check(settings: Settings, dataset: Dataset, corruptions: tuple[str, ...]) -> None:
    if settings.corrupt_at == "native":
        if not serves_native(dataset):
            raise UserError(
                "corrupt_at = native: this dataset does not serve images at their native resolution. Use corrupt_at = "
                "network, or give the dataset native_image and fit_image."
            )
        return
    height, width = dataset.image_size
    smallest = max((CORRUPTIONS[name].minimum_side for name in corruptions), default=0)
    if min(height, width) < smallest:
        raise UserError(
            f"robustness = {settings.robustness}: images of {height} x {width} pixels are smaller than the corruptions' "
            f"kernels, which need {smallest} on both sides. Use robustness = off, or larger images."
        )
