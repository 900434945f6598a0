"""A select-or-skip policy: which task executes which block, how that came about, and which tasks decide alike.

Drawn from the artefact "policy" of a record, whatever method left it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.shapes import are_names, is_count, is_finite, is_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

COLOURS = "PuOr_r"
"""Of probabilities: what is undecided (½) is white."""

ALIKE = "BrBG"
"""Of the correlation of two tasks' policies, −1 … 1."""

_MOST_LABELS = 20
_MOST_EVOLUTIONS = 8


def draw_policy(artefact: dict[str, Any], path: Path) -> None:
    """Write the picture as PNG and SVG.

    Args:
        artefact: `tasks` [K] and `blocks` [L], names; `probability` [K][L] of execution; `decision` [K][L], what is
            executed; `correlation` [K][K]; and, where the policy was learned, `history`: one entry an epoch of policy
            learning with its `epoch`, `probability`, `temperature` and number of `gated` blocks.
        path: of the files; its ending is replaced by theirs.
    """
    tasks, blocks = artefact["tasks"], artefact["blocks"]
    history = artefact.get("history") or []
    height = max(1.5, 0.34 * len(tasks)) + 1.5
    width = max(7.5, 0.52 * len(blocks) + 3.4 + 0.3 * len(tasks))
    with paint.canvas(width, height + (0.19 * len(blocks) + 1.3 if history else 0)) as figure:
        ratios = [height, 0.19 * len(blocks) + 1.3] if history else [height]
        parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
        left, right = parts[0].subplots(1, 2, width_ratios=[len(blocks) + 1, max(4, len(tasks)) + 1])
        _decisions(parts[0], left, artefact)
        _correlation(parts[0], right, artefact)
        if history:
            _evolution(parts[1], tasks, blocks, history)
        paint.save(figure, path.with_suffix(""))


def wrong_policy(artefact: Any) -> str:
    """Why `draw_policy` cannot draw it; empty where it can."""
    if not isinstance(artefact, Mapping) or not all(are_names(artefact.get(key)) for key in ("tasks", "blocks")):
        return "`tasks` and `blocks` are expected to be lists of names"
    tasks, blocks = len(artefact["tasks"]), len(artefact["blocks"])
    for key, columns in (("probability", blocks), ("decision", blocks), ("correlation", tasks)):
        if not is_matrix(artefact.get(key), tasks, columns):
            return f"`{key}` is expected to be {tasks} × {columns} numbers"
    history = artefact.get("history") or []
    if not isinstance(history, list):
        return "`history` is expected to be a list"
    for point in history:
        if not isinstance(point, Mapping) or not is_finite(point.get("epoch")) or not is_count(point.get("gated")):
            return "every entry of `history` is expected to have numbers `epoch` and `gated`"
        if not is_matrix(point.get("probability"), tasks, blocks):
            return f"`probability` of every entry of `history` is expected to be {tasks} × {blocks} numbers"
    return ""


def _decisions(figure: SubFigure, axes: Axes, artefact: dict[str, Any]) -> None:
    """Tasks × blocks: colour and number are the probability; a cell that is skipped is crossed out."""
    tasks, blocks, probability = artefact["tasks"], artefact["blocks"], artefact["probability"]
    image = axes.imshow(probability, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    shades = image.to_rgba(probability)
    for row, own in enumerate(artefact["decision"]):
        for column, executed in enumerate(own):
            value = probability[row][column]
            strong = abs(value - 0.5) > 0.33
            if len(blocks) <= _MOST_LABELS:
                number = "1" if value > 0.995 else f"{value:.2f}".lstrip("0")
                axes.text(column, row, number, ha="center", va="center", fontsize=7.5, zorder=3,
                          color="white" if strong else "#333333",
                          bbox={"facecolor": shades[row, column], "edgecolor": "none", "pad": 0.8})  # fmt: skip
            if not executed:
                for ends in ((row - 0.42, row + 0.42), (row + 0.42, row - 0.42)):
                    axes.plot((column - 0.42, column + 0.42), ends, color="#888888", linewidth=1.1, zorder=2)
    _labels(axes, blocks, tasks)
    axes.set_title("probability of execution; crossed out: skipped", loc="left", fontsize=9)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7.5)


def _correlation(figure: SubFigure, axes: Axes, artefact: dict[str, Any]) -> None:
    """Tasks × tasks."""
    tasks, values = artefact["tasks"], artefact["correlation"]
    image = axes.imshow(values, cmap=ALIKE, vmin=-1, vmax=1, aspect="auto")
    if len(tasks) <= 8:
        for row, own in enumerate(values):
            for column, value in enumerate(own):
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                          color="white" if abs(value) > 0.7 else "#333333")  # fmt: skip
    _labels(axes, tasks, tasks)
    axes.set_yticks([])
    axes.set_title("correlation of policies", loc="left", fontsize=9)
    figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02).ax.tick_params(labelsize=7.5)


def _evolution(figure: SubFigure, tasks: list[str], blocks: list[str], history: list[dict[str, Any]]) -> None:
    """A panel a task: blocks × epochs of policy learning, the last block at the top; above the line: gated."""
    shown = tasks[:_MOST_EVOLUTIONS]
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    first, last = history[0]["epoch"], history[-1]["epoch"]
    for number, (axes, task) in enumerate(zip(panels, shown, strict=True)):
        values = list(zip(*(point["probability"][number] for point in history), strict=True))
        extent = (first - 0.5, last + 0.5, -0.5, len(blocks) - 0.5)
        axes.imshow(values, cmap=COLOURS, vmin=0, vmax=1, aspect="auto", origin="lower", extent=extent, interpolation="none")
        edges = [point["epoch"] - 0.5 for point in history] + [last + 0.5]
        axes.stairs([len(blocks) - point["gated"] - 0.5 for point in history], edges, baseline=None, color="#444444")
        axes.set_title(paint.clip(task, 20), fontsize=8.5)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7.5)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.grid(visible=False)
    step = 1 if len(blocks) <= _MOST_LABELS else max(1, len(blocks) // 12)
    panels[0].set_yticks(range(0, len(blocks), step), [paint.literal(name) for name in blocks[::step]], fontsize=7)
    figure.suptitle("over policy learning (blocks below the line are executed by all)", x=0.01, ha="left", fontsize=9)


def _labels(axes: Axes, columns: list[str], rows: list[str]) -> None:
    """Names at both sides, and no frame."""
    step = 1 if len(columns) <= _MOST_LABELS else max(1, len(columns) // 12)
    names = [paint.clip(name, 14) for name in columns[::step]]
    axes.set_xticks(range(0, len(columns), step), names, rotation=40, ha="right", fontsize=7.5)
    axes.set_yticks(range(len(rows)), [paint.clip(name, 16) for name in rows], fontsize=8)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
