"""What a network predicts under corruption, to look at: one line per corruption, one column per task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mtlbench.contract.batch import Batch
from mtlbench.data.split import Split
from mtlbench.errors import UserError
from mtlbench.measure.corruptions import QUICK, corrupt, label
from mtlbench.measure.robustness import as_bytes, as_image
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import prediction_picture, target_picture

_SIDE = 192
_LEFT, _TOP, _GAP = 130, 22, 2

Picture = np.ndarray | str
Line = tuple[str, list[Picture]]
"""What stands on the left, then the image and one picture (or words) per task."""


@dataclass(frozen=True)
class Selected:
    """The selected network of a finished trial, and the images that it is tested on.

    Attributes:
        title: dataset, row and seed.
        dataset: the dataset's name.
        network: deployed, in evaluation mode, on the CPU.
    """

    title: str
    dataset: str
    tasks: tuple[Task, ...]
    network: nn.Module
    test: Split


def strip(
    selected: Selected, image: int, names: Sequence[str] = QUICK, severity: int = 3, textures: str | Path | None = None
) -> tuple[list[str], list[Line]]:
    """The names of the columns, and the lines: target, predictions on the clean image, and those on each corrupted one.

    Args:
        image: position in the test split.
        names: corruptions, from top to bottom; the pixels are those of the robustness evaluation.

    Raises:
        UserError: there is no such image, or `corrupt` refuses it.
    """
    split = selected.test
    if not 0 <= image < len(split):
        raise UserError(f"There is no test image {image}: expected 0 to {len(split) - 1}.")
    batch = split.batch(torch.tensor([image]))
    pixels = as_bytes(batch.image)
    drawn = [task for task in selected.tasks if batch.rows is None or len(batch.rows[task.name])]
    targets = [target_picture(task, batch.target(task.name)[0]) for task in drawn]
    lines: list[Line] = [("target", [_pixels(pixels), *targets])]
    lines.append(("clean", [_pixels(pixels), *_predicted(selected, drawn, batch, pixels)]))
    for name in names:
        keys = [split.ids[image]]
        changed = corrupt(pixels, name, severity, keys=keys, dataset=selected.dataset, textures=textures)
        title = f"{label(name, own_textures=textures is not None)} {severity}"
        lines.append((title, [_pixels(changed), *_predicted(selected, drawn, batch, changed)]))
    return ["image", *(task.name for task in drawn)], lines


def prediction_strip(
    selected: Selected,
    image: int,
    path: str | Path,
    names: Sequence[str] = QUICK,
    severity: int = 3,
    textures: str | Path | None = None,
) -> None:
    """Write the picture of `strip`; folders are made as needed."""
    from PIL import Image, ImageDraw

    heads, lines = strip(selected, image, names, severity, textures)
    full_height, full_width = selected.test.images.shape[1:3]
    scale = _SIDE / max(full_height, full_width)
    height, width = round(full_height * scale), round(full_width * scale)
    across, down = len(heads), len(lines)
    sheet = Image.new("RGB", (_LEFT + across * (width + _GAP), 2 * _TOP + down * (height + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 5), f"{selected.title}, test image {image}", fill="black")
    for column, head in enumerate(heads):
        draw.text((_LEFT + column * (width + _GAP) + 4, _TOP + 4), head, fill="black")
    for place, (title, pictures) in enumerate(lines):
        top = 2 * _TOP + place * (height + _GAP)
        draw.text((8, top + height // 2 - 6), title, fill="black")
        for column, picture in enumerate(pictures):
            left = _LEFT + column * (width + _GAP)
            if isinstance(picture, str):
                draw.text((left + 4, top + height // 2 - 6), picture, fill="black")
            else:
                sheet.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), (left, top))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


@torch.no_grad()
def _predicted(selected: Selected, tasks: Sequence[Task], batch: Batch, pixels: torch.Tensor) -> list[Picture]:
    output = selected.network(as_image(pixels), [task.name for task in tasks], batch.rows)
    return [prediction_picture(task, output[task.name][0], batch.target(task.name)[0]) for task in tasks]


def _pixels(pixels: torch.Tensor) -> np.ndarray:
    return pixels[0].permute(1, 2, 0).contiguous().numpy()
