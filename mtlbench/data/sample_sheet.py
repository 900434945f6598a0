"""A sheet of samples of a dataset: images and all of their targets, drawn with a legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.data.split import Split
from mtlbench.data.store import Prepared
from mtlbench.data.target_pictures import Legend, Pixels, legend, picture, unlabelled
from mtlbench.errors import UserError
from mtlbench.tasks import Depth
from mtlbench.tasks.base import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL, _GAP, _LINE, _TOP = 1.9, 0.08, 0.16, 0.32
"""In inches: the width of a picture, the space around it, the height of a line, where the first row begins."""
_MOST_ROWS = 60


def draw_samples(prepared: Prepared, out: Path, per_split: int = 3) -> None:
    """Draw a few samples of every split, one row each: the image, then the target of every task.

    Samples are spread evenly over a split; of multi-input data every task gets `per_split` of its own.

    Args:
        prepared: the dataset.
        out: the picture to write; its ending chooses the format.
        per_split: samples per split (or per split and task).

    Raises:
        UserError: the ending is of no known format, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(split, place) for split in prepared.splits.values() for place in evenly_spread(split, per_split)][:_MOST_ROWS]
    tasks, (height, width) = prepared.dataset.tasks, prepared.dataset.image_size
    legends = [legend(task, [_target(split, task, place) for split, place in rows]) for task in tasks]
    cell = _CELL * min(max(height / width, 0.4), 2.5)
    high = _TOP + (cell + _LINE + _GAP) * len(rows) + _GAP + _LINE * max(len(entries) for entries in legends) + _GAP
    figure = Figure(figsize=((_CELL + _GAP) * (len(tasks) + 1) + _GAP, high))
    FigureCanvasAgg(figure)
    page = _Page(figure, cell)
    for column, name in enumerate(["image", *(task.name for task in tasks)]):
        page.text(column, _TOP - _GAP, name, size=9, weight="bold", middle=True)
    for line, (split, place) in enumerate(rows):
        _draw_row(page, line, split, tasks, place)
    for column, entries in enumerate(legends, 1):
        page.legend(column, _TOP + (cell + _LINE + _GAP) * len(rows) + _GAP, entries)
    _save(figure, out)


def evenly_spread(split: Split, count: int) -> list[int]:
    """Positions spread evenly over a split: `count`, or `count` for every task of multi-input data."""
    if not split.multi_input:
        return _spread(np.arange(len(split)), count)
    own = [split.labelled[task.name].numpy().nonzero()[0] for task in split.tasks]
    return [place for places in own for place in _spread(places, count)]


def _spread(places: NDArray[Any], count: int) -> list[int]:
    return [int(places[int(at)]) for at in np.linspace(0, len(places) - 1, min(count, len(places))).round()]


def _target(split: Split, task: Task, place: int) -> Tensor:
    return split.batch(torch.tensor([place])).targets[task.name][0]


class _Page:
    """One axes over the whole figure, in inches from its top left: hundreds of small axes would take seconds."""

    def __init__(self, figure: Figure, cell: float) -> None:
        self.cell = cell
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, figure.get_figwidth())
        self.axes.set_ylim(figure.get_figheight(), 0)
        self.axes.axis("off")

    def left(self, column: int) -> float:
        """Where a column begins."""
        return _GAP + (_CELL + _GAP) * column

    def top(self, row: int) -> float:
        """Where a row of pictures begins."""
        return _TOP + (self.cell + _LINE + _GAP) * row

    def show(self, row: int, column: int, drawn: Pixels | str, caption: str = "") -> None:
        """Pixels or words in a cell, and a caption below them."""
        x, y = self.left(column), self.top(row)
        if isinstance(drawn, str):
            self.box(x, y, _CELL, self.cell, "#F4F4F4")
            self.axes.text(x + _CELL / 2, y + self.cell / 2, drawn, ha="center", va="center", fontsize=8)
        else:
            self.axes.imshow(drawn, extent=(x, x + _CELL, y + self.cell, y), interpolation="nearest", aspect="auto")
        self.text(column, y + self.cell + _LINE * 0.9, caption, middle=True)

    def text(
        self, column: int, y: float, text: str, size: float = 6.5, weight: str = "normal", middle: bool = False
    ) -> None:
        """A line on a column, standing on `y`."""
        x = self.left(column) + (_CELL / 2 if middle else 0)
        self.axes.text(x, y, text, fontsize=size, fontweight=weight, ha="center" if middle else "left", va="bottom")

    def box(self, x: float, y: float, width: float, height: float, colour: Any) -> None:
        """A filled rectangle with a thin edge."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="#777777", linewidth=0.4))

    def legend(self, column: int, y: float, entries: Legend) -> None:
        """Colours and words, line by line."""
        for line, (colour, text) in enumerate(entries):
            x, at = self.left(column), y + _LINE * line
            if colour is not None:
                self.box(x, at, 0.15, _LINE * 0.75, colour / 255)
            self.axes.text(x + (0.2 if colour is not None else 0), at + _LINE * 0.4, text, fontsize=6.5, va="center")


def _draw_row(page: _Page, row: int, split: Split, tasks: tuple[Task, ...], place: int) -> None:
    name = split.ids[place]
    shown = name if name.startswith(split.name) else f"{split.name}: {name}"
    page.show(row, 0, np.asarray(split.images[place]), shown if len(shown) < 34 else f"…{shown[-32:]}")
    for column, task in enumerate(tasks, 1):
        if not split.labelled[task.name][place]:
            page.show(row, column, "no label")
            continue
        target, caption = _target(split, task, place), ""
        if isinstance(task, Depth):
            valid = target[0][~unlabelled(task, target)]
            caption = f"{float(valid.min()):.3g} to {float(valid.max()):.3g} {task.unit}"
        page.show(row, column, picture(task, target), caption)


def _save(figure: Figure, out: Path) -> None:
    known = figure.canvas.get_supported_filetypes()
    if out.suffix.lower().removeprefix(".") not in known:
        raise UserError(f"{out}: expected the name of a picture, such as sheet.png.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from None
