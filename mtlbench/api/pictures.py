"""Predictions as pictures: each task's output alone, and a sheet with the image, all outputs and what the colours mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtlbench.api.outputs import decode
from mtlbench.data.target_pictures import Legend, Pixels, legend, picture, words
from mtlbench.errors import UserError
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import prediction_picture

_RANGE_PIXELS = 100_000
"""Pixels that the range of a depth map is taken from: quantiles of all pixels of a photograph would take seconds."""

_CELL, _LINE, _MOST_LINES = 3.2, 0.17, 24
"""In inches: the width of a picture on the sheet and the height of a line of its legend; and how many lines it may have."""

_DRAWN = (Segmentation, Depth, Normals, Boundaries, Saliency, Reconstruction)


def output_picture(task: Task, output: Tensor) -> Pixels | str:
    """A raw output as pixels [H, W, 3] of its own size, or as words for tasks that are no maps. Depth: dark to bright."""
    if isinstance(task, Classification | Attributes):
        return words(task, as_label(task, output))
    if not isinstance(task, _DRAWN):
        return picture(task, decode(task, output))
    return np.asarray(prediction_picture(task, output, as_label(task, output)))


def as_label(task: Task, output: Tensor) -> Tensor:
    """What the output says, in the form of a stored target; of a depth map only some pixels, [1, 1, n] and above 0."""
    if isinstance(task, Depth):
        values = output.flatten()
        return values[:: max(1, len(values) // _RANGE_PIXELS)].clamp(min=1e-9).reshape(1, 1, -1)
    if isinstance(task, Attributes):
        return (output > 0).to(torch.int8)
    if isinstance(task, Boundaries | Saliency):
        return (output > 0).float()
    return decode(task, output)


def output_legend(task: Task, output: Tensor) -> Legend:
    """What the colours of a picture mean, and for depth its range."""
    label = as_label(task, output)
    entries = legend(task, [label])
    if isinstance(task, Depth):
        kind, unit = "inverse depth" if task.inverse else "depth", f" {task.unit}" if task.unit else ""
        low, high = (float(label.quantile(quantile)) for quantile in (0.02, 0.98))
        ends = [f"{kind} {low:.3g}{unit} or less", f"{kind} {high:.3g}{unit} or more"]
        entries = [(colour, text) for (colour, _), text in zip(entries, ends, strict=False)]
    return entries


def draw_sheet(path: Path, title: str, image: Tensor, outputs: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> None:
    """Write the image beside the output of every task, with legends.

    Args:
        image: float [3, H, W] in [0, 1].
        outputs: task → raw output.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    legends = {name: output_legend(tasks[name], output)[:_MOST_LINES] for name, output in outputs.items()}
    lines = max((len(entries) for entries in legends.values()), default=0)
    height = _CELL * min(max(image.shape[1] / image.shape[2], 0.25), 3.0)
    below = (lines + 1) * _LINE
    figure = Figure(figsize=(_CELL * (len(outputs) + 1), height + below + 0.6))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, y=0.99, ha="left", va="top", fontsize=9)
    bottom, top = below / figure.get_figheight(), 1 - 0.55 / figure.get_figheight()
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    pictures = {"image": pixels, **{name: output_picture(tasks[name], output) for name, output in outputs.items()}}
    for column, (name, drawn) in enumerate(pictures.items()):
        width = 1 / len(pictures)
        axes = figure.add_axes((column * width + 0.02 * width, bottom, 0.96 * width, top - bottom))
        axes.set_title(name, fontsize=9, pad=3)
        axes.axis("off")
        if isinstance(drawn, str):
            axes.text(0.5, 0.5, drawn, ha="center", va="center", fontsize=10)
            axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#F4F4F4", zorder=0))
        else:
            axes.imshow(drawn, interpolation="antialiased", aspect="auto")
        colours = [(colour, text) for colour, text in legends.get(name, []) if colour is not None]
        if colours:
            patches = [Patch(facecolor=tuple(colour / 255), edgecolor="#777777", label=text) for colour, text in colours]
            axes.legend(
                handles=patches, loc="upper left", bbox_to_anchor=(0, 0), fontsize=7, frameon=False, borderaxespad=0.2
            )
    save_figure(figure, path)


def save_figure(figure: object, path: Path) -> None:
    """Write a figure; its folder is made if missing.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)  # type: ignore[attr-defined]
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
