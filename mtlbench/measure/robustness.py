"""Robustness: the deployed network under corrupted images, and under attack.

One pass over the images a cell (corruption x severity). A batch is taken as bytes, corrupted at once on the device, and
given to the network in place of the clean one. Targets stay clean, that of auto-encoding included.

What is random about a corrupted image depends on (dataset, image, corruption, severity) alone, so that all methods see the
same corrupted images, in whatever batches and order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mtlbench.contract.batch import Batch
from mtlbench.contract.dataset import Augmentation
from mtlbench.errors import UserError
from mtlbench.measure.corruptions import CORRUPTIONS, corrupt, suite_version
from mtlbench.measure.native import NativeImages
from mtlbench.measure.robustness_suite import Suite, choosing_suite, reported_suite
from mtlbench.measure.subject import Subject, reading
from mtlbench.records import Evaluation
from mtlbench.statistics.robustness_summary import summarise

if TYPE_CHECKING:
    from mtlbench.running.trial import Trial


def evaluate_robustness(trial: Trial, clean: Evaluation) -> dict[str, Any]:
    """Everything that a record says about robustness; see `mtlbench.statistics.robustness_summary` for its summary.

    Args:
        trial: with the selected weights in place.
        clean: the same network on the clean test images.

    Returns:
        `suite`, `version`, `corrupt_at`, `corruptions` (what is known of each), `severities`, `disqualified` (corruption →
        reason), `images`, `cells` (corruption → severity → metrics and skill on test), `worst` (a corruption's name),
        `summary` (name → number); `val` (the extra corruptions, for choosing) and `pgd` (attacks) where asked for.
    """
    settings, dataset = trial.spec.settings, trial.data.dataset
    textures = settings.frost_textures or None
    found: dict[str, Any] = {"suite": settings.robustness, "cells": {}}
    augmentation = dataset.augmentation if settings.augment else Augmentation()
    if suite := reported_suite(settings, augmentation):
        subject = Subject.of(trial, "test")
        native = NativeImages(dataset, "test") if settings.corrupt_at == "native" else None
        found |= {
            "version": suite_version(textures),
            "corrupt_at": settings.corrupt_at,
            "corruptions": suite.describe(own_textures=textures is not None),
            "severities": list(suite.severities),
            "disqualified": dict(suite.disqualified),
            "images": len(subject.split),
            "cells": evaluate_cells(subject, suite, native, textures),
        }
    if extra := choosing_suite(settings):
        native = NativeImages(dataset, "val") if settings.corrupt_at == "native" else None
        found["val"] = {
            "corruptions": extra.describe(),
            "severities": list(extra.severities),
            "cells": evaluate_cells(Subject.of(trial, "val"), extra, native),
        }
    if settings.pgd:
        from mtlbench.measure.adversarial import evaluate_attacks

        found["pgd"] = evaluate_attacks(trial)
    return found | summarise(found, clean.mean_skill)


def evaluate_cells(
    subject: Subject, suite: Suite, native: NativeImages | None = None, textures: str | None = None
) -> dict[str, dict[str, Any]]:
    """Corruption → severity (as text) → metrics and skill of every cell of a suite.

    Raises:
        UserError: the suite has one of the extra corruptions and the images are those of a test set.
    """
    for name in suite.corruptions:
        if not CORRUPTIONS[name].common and subject.split.name.startswith("test"):
            raise UserError(f"{name} is for choosing on val and is never reported on {subject.split.name}.")
    cells: dict[str, dict[str, Any]] = {name: {} for name in suite.corruptions}
    for name, severity in suite.cells():
        change = Corrupted(subject, name, severity, native, textures)
        cells[name][str(severity)] = reading(subject.evaluate(change))
    return cells


class Corrupted:
    """Gives a batch's images under one corruption; a `change` for `Subject.evaluate`.

    Args:
        name, severity: the cell; severity 0 gives exactly the clean images.
        native: corrupt these instead of the images at the network's resolution.
        textures: a folder with photographs of ice for `frost`.
    """

    def __init__(
        self,
        subject: Subject,
        name: str,
        severity: int,
        native: NativeImages | None = None,
        textures: str | None = None,
    ) -> None:
        self.subject, self.name, self.severity = subject, name, severity
        self.native, self.textures = native, textures

    def __call__(self, batch: Batch) -> Tensor:
        ids, dataset = self.subject.ids(batch), self.subject.dataset
        if self.native is None:
            clean = as_bytes(batch.image)
            pixels = corrupt(clean, self.name, self.severity, keys=ids, dataset=dataset, textures=self.textures)
        else:
            pixels = self.native.corrupted(ids, self.name, self.severity, dataset=dataset, textures=self.textures)
        return as_image(pixels.to(batch.image.device))


def as_bytes(image: Tensor) -> Tensor:
    """Images as a batch holds them, float32 in [0, 1], back to the bytes they were made from: uint8, channels first."""
    return image.mul(255).round_().to(torch.uint8).contiguous()


def as_image(pixels: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] → float32 in [0, 1], channels last: equal to the bit to what `Split.batch` makes of the bytes."""
    return pixels.contiguous(memory_format=torch.channels_last).to(torch.float32).div_(255)
