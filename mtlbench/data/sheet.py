"""The contact sheet of a dataset: images and all of their targets, drawn with a legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.data.split import Split
from mtlbench.data.store import Prepared
from mtlbench.errors import UserError
from mtlbench.tasks import Attributes, Boundaries, Classification, Depth, Normals, Reconstruction, Saliency, Segmentation
from mtlbench.tasks.base import Task
from mtlbench.tasks.render import target_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNLABELLED = (255, 0, 255)
"""Colour of pixels that neither loss nor metrics see: magenta, which no kind of task draws."""
_CELL, _GAP, _LINE, _TOP = 1.9, 0.08, 0.16, 0.32
"""In inches: the width of a picture, the space around it, the height of a line, where the first row begins."""
_DRAWN = (Segmentation, Depth, Normals, Boundaries, Saliency, Reconstruction)

Legend = list[tuple[NDArray[np.uint8] | None, str]]
"""A colour (None for a line of words alone) and what it means."""

_MOST_ROWS = 60
_WORDS = 14
"""Lines of text that fit beside an image."""


def contact_sheet(prepared: Prepared, out: Path, per_split: int = 3) -> None:
    """Draw a few samples of every split, one row each: the image, then the target of every task.

    Samples are spread evenly over a split; of multi-input data every task gets `per_split` of its own.

    Args:
        prepared: the dataset.
        out: the picture to write; its ending chooses the format.
        per_split: samples a split (or a split and task).

    Raises:
        UserError: the ending is of no known format, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(split, place) for split in prepared.splits.values() for place in chosen(split, per_split)][:_MOST_ROWS]
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


def chosen(split: Split, count: int) -> list[int]:
    """Positions spread evenly over a split: `count`, or `count` for every task of multi-input data."""
    if not split.multi_input:
        return _spread(np.arange(len(split)), count)
    own = [split.labelled[task.name].numpy().nonzero()[0] for task in split.tasks]
    return [place for places in own for place in _spread(places, count)]


def picture(task: Task, target: Tensor) -> NDArray[np.uint8] | str:
    """One stored target as pixels [H, W, 3] or words; what is unlabelled is `UNLABELLED`, or says so."""
    if isinstance(task, Classification | Attributes):
        return words(task, target)
    drawn = np.array(target_picture(task, target) if isinstance(task, _DRAWN) else _grey(target))
    drawn[unlabelled(task, target).numpy()] = UNLABELLED
    return drawn


def _grey(target: Tensor) -> NDArray[np.uint8]:
    """A map of a kind that a plugin brought: its first channel, dark to bright over its finite values."""
    values = target.reshape(-1, *target.shape[-2:])[0].double().numpy()
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    shown = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.repeat(np.round(255 * shown).astype(np.uint8)[..., None], 3, axis=2)


def words(task: Task, target: Tensor) -> str:
    """What a label that is no map says."""
    values = target.tolist()
    if isinstance(task, Attributes):
        names = task.names or tuple(str(number) for number in range(task.channels))
        yes = [name for name, value in zip(names, values, strict=True) if value == 1]
        unknown = sum(value == task.invalid for value in values)
        said = [*yes[: _WORDS - 2], *([f"… {len(yes)} in all"] if len(yes) > _WORDS - 2 else [])] or ["(none)"]
        return "\n".join([*said, *([f"({unknown} unlabelled)"] if unknown else [])])
    return "no label" if values == task.invalid else f"class {values}"


def unlabelled(task: Task, target: Tensor) -> Tensor:
    """Bool [H, W]: the pixels of one dense target that neither loss nor metrics see."""
    if isinstance(task, Depth):
        return ~((target[0] > 0) & target[0].isfinite())
    if isinstance(task, Normals):
        return target.norm(dim=0) == 0
    missing = target.isnan() if np.isnan(task.invalid) else target == task.invalid
    return missing.reshape(-1, *target.shape[-2:]).all(0)


def legend(task: Task, targets: list[Tensor]) -> Legend:
    """What colours mean, over the targets that are shown: (colour or None, words) line by line."""
    entries: Legend = []
    if isinstance(task, Segmentation):
        colours = np.asarray(target_picture(task, torch.arange(task.channels, dtype=torch.uint8)[None]))[0]
        names = task.classes or tuple(f"class {number}" for number in range(task.channels))
        seen = torch.cat([target.flatten() for target in targets]).unique().tolist()
        entries = [(colours[label], names[label]) for label in seen if label < task.channels]
    elif isinstance(task, Depth):
        ends = np.asarray(target_picture(task, torch.linspace(1, 2, 256).reshape(1, 1, 256)))[0]
        kind = "inverse depth" if task.inverse else "depth"
        unit = f" ({task.unit})" if task.unit else ""
        entries = [(ends[0], f"least {kind}{unit}"), (ends[-1], "greatest, of each image")]
    elif isinstance(task, Normals):
        for name, axis in {"x": 0, "y": 1, "z": 2}.items():
            direction = torch.zeros(3, 1, 1)
            direction[axis] = -1
            entries.append((np.asarray(target_picture(task, direction))[0, 0], f"towards -{name}"))
    elif isinstance(task, Boundaries | Saliency):
        yes = "boundary" if isinstance(task, Boundaries) else "salient"
        entries = [(np.full(3, 255, np.uint8), yes), (np.zeros(3, np.uint8), f"no {yes}" if yes == "boundary" else "not")]
    elif task.dense and not isinstance(task, _DRAWN):
        entries = [(np.zeros(3, np.uint8), "least"), (np.full(3, 255, np.uint8), "greatest, of each image")]
    elif not task.dense:
        return [(None, f"{task.channels} {'attributes' if isinstance(task, Attributes) else 'classes'}")]
    if any(bool(unlabelled(task, target).any()) for target in targets):
        entries.append((np.array(UNLABELLED, np.uint8), "unlabelled"))
    return entries


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

    def show(self, row: int, column: int, drawn: NDArray[np.uint8] | str, caption: str = "") -> None:
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
