"""Robustness: the deployed network under corrupted images, and under attack.

One pass over the images per cell (corruption x severity). A batch is taken as bytes, corrupted at once on the device, and
given to the network in place of the clean one. Targets stay clean, that of auto-encoding included.

What is random about a corrupted image depends on (dataset, image, corruption, severity) alone, so that all methods see the
same corrupted images, in whatever batches and order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.config.settings import Settings
from mtlbench.contract import Augmentation, Batch
from mtlbench.data.split import Split
from mtlbench.data.store import Prepared
from mtlbench.errors import UserError
from mtlbench.measure.adversarial import evaluate_attacks
from mtlbench.measure.corruptions import CORRUPTIONS, corrupt, suite_version
from mtlbench.measure.evaluator import Evaluator, condition_cell, image_ids
from mtlbench.measure.native import NativeImages
from mtlbench.measure.robustness_suite import Suite, choosing_suite, reported_suite
from mtlbench.statistics.robustness_summary import summarise


def evaluate_robustness(
    network: nn.Module,
    evaluator: Evaluator,
    data: Prepared,
    settings: Settings,
    augmentation: Augmentation,
    clean_skill: float,
) -> dict[str, Any] | None:
    """Everything that a record says about robustness; see `mtlbench.statistics.robustness_summary` for its summary.

    Args:
        network: the deployed network.
        augmentation: the one that training used.
        clean_skill: mean skill of the same network on the clean test images.

    Returns:
        `suite`, `version`, `corrupt_at`, `corruptions` (what is known of each), `severities`, `disqualified` (corruption →
        reason), `images`, `cells` (corruption → severity → metrics and skill on test), `worst` (a corruption's name),
        `summary` (name → number); `val` (the extra corruptions, for choosing) and `pgd` (attacks) where asked for. None
        where nothing was asked for.
    """
    if settings.robustness == "off" and not settings.robustness_val and not settings.pgd:
        return None
    textures = settings.frost_textures or None
    robustness: dict[str, Any] = {"suite": settings.robustness, "cells": {}}
    if suite := reported_suite(settings, augmentation):
        test = data.splits["test"]
        native = NativeImages(data.dataset, "test") if settings.corrupt_at == "native" else None
        robustness |= {
            "version": suite_version(textures),
            "corrupt_at": settings.corrupt_at,
            "corruptions": suite.describe(own_textures=textures is not None),
            "severities": list(suite.severities),
            "disqualified": dict(suite.disqualified),
            "images": len(test),
            "cells": evaluate_cells(network, evaluator, test, suite, native, textures),
        }
    if extra := choosing_suite(settings):
        native = NativeImages(data.dataset, "val") if settings.corrupt_at == "native" else None
        robustness["val"] = {
            "corruptions": extra.describe(),
            "severities": list(extra.severities),
            "cells": evaluate_cells(network, evaluator, data.splits["val"], extra, native),
        }
    if settings.pgd:
        robustness["pgd"] = evaluate_attacks(network, evaluator, data.splits["test"], settings)
    return robustness | summarise(robustness, clean_skill)


def evaluate_cells(
    network: nn.Module,
    evaluator: Evaluator,
    split: Split,
    suite: Suite,
    native: NativeImages | None = None,
    textures: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Corruption → severity (as text) → metrics and skill of every cell of a suite.

    Raises:
        UserError: the suite has one of the extra corruptions and the images are those of a test set.
    """
    for name in suite.corruptions:
        if not CORRUPTIONS[name].common and split.name.startswith("test"):
            raise UserError(f"{name} is for choosing on val and is never reported on {split.name}.")
    cells: dict[str, dict[str, Any]] = {name: {} for name in suite.corruptions}
    for name, severity in suite.cells():
        change = Corrupted(evaluator.dataset, split, name, severity, native, textures)
        cells[name][str(severity)] = condition_cell(evaluator.evaluate(network, split, change))
    return cells


class Corrupted:
    """Gives a batch's images under one corruption; a `change` for `Evaluator.evaluate`.

    Args:
        dataset: its name.
        split: where the batches are from.
        name, severity: the cell; severity 0 gives exactly the clean images.
        native: corrupt these instead of the images at the network's resolution.
        textures: a folder with photographs of ice for `frost`.
    """

    def __init__(
        self,
        dataset: str,
        split: Split,
        name: str,
        severity: int,
        native: NativeImages | None = None,
        textures: str | None = None,
    ) -> None:
        self.dataset, self.split, self.name, self.severity = dataset, split, name, severity
        self.native, self.textures = native, textures

    def __call__(self, batch: Batch) -> Tensor:
        ids, dataset = image_ids(self.split, batch), self.dataset
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
