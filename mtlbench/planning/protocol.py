"""The protocol card: everything that must be equal for two trials to be comparable, and its hash.

Versions and hardware are shown with a record but are no part of its protocol.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mtlbench.config.settings import Settings
from mtlbench.contract import Augmentation, Dataset
from mtlbench.data import label_share
from mtlbench.measure.robustness_suite import robustness_card
from mtlbench.records import canonical

PROTOCOL_VERSION = 2
"""Raised when the harness changes what a number means: metrics, selection, evaluation, augmentation."""

SELECTION = "val: epoch of the highest mean skill, for every independent part of the network; test once, by the selected one"


def card(
    name: str, dataset: Dataset, fingerprint: str, sizes: dict[str, int], settings: Settings, precision: str
) -> dict[str, Any]:
    """The protocol of trials on a prepared dataset under some settings.

    Args:
        name: the dataset's name.
        fingerprint: of the prepared data.
        sizes: split → number of samples.
        precision: what "auto" resolved to.

    Raises:
        UserError: the settings do not fit the dataset or its tasks.
    """
    settings.scored(dataset.tasks)  # refuses auxiliary tasks that the dataset does not have
    augmentation = dataset.augmentation if settings.augment else Augmentation()
    protocol = {
        "version": PROTOCOL_VERSION,
        "dataset": {
            "name": name,
            "fingerprint": fingerprint,
            "splits": sizes,
            "split_rule": dataset.split_rule(),
            "image_size": list(dataset.image_size),
            "multi_input": dataset.multi_input,
            "normalisation": {"mean": list(dataset.mean), "std": list(dataset.std)},
            "options": dataset.describe(),
            "tasks": [
                task.describe() | ({"auxiliary": True} if task.name in settings.auxiliary else {}) for task in dataset.tasks
            ],
        },
        "augmentation": {"zooms": list(augmentation.zooms), "flip": augmentation.flip},
        "backbone": settings.backbone_spec().describe(),
        "heads": {**settings.head_spec().describe(), "logits": "bilinear to the image's size, corners not aligned"},
        "batchnorm": f"recomputed on {settings.bn_images} training images before the final validation",
        "batch_size": settings.batch_size,
        "optimizer": settings.optimizer_spec().describe(),
        "precision": precision,
        "budget": {"mode": settings.budget, "epochs": settings.epochs, "unit": "passes over train, per task"},
        "selection": SELECTION,
        "robustness": robustness_card(settings, dataset),
    }
    if settings.micro_batches > 1:
        protocol["micro_batches"] = settings.micro_batches
    if settings.label_share < 1:
        protocol["labels"] = {"share": settings.label_share, "rule": label_share.RULE}
    # As it will be read from a record: the same values, and the same hash, on both ways.
    return dict(json.loads(canonical(protocol)))


def protocol_id(protocol: dict[str, Any]) -> str:
    """12 hexadecimal digits that name a protocol card by its content."""
    return hashlib.sha256(canonical(protocol).encode()).hexdigest()[:12]
