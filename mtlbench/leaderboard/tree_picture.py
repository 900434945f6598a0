"""A network that merges while it is trained: its tree over time, what was alike when, and what it cost.

Drawn from the artefact "merge_tree" of a record, whatever method left it there.
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

ALIKE = "YlGnBu"
"""Of similarities, 0 … 1; what is below 0 is shown as 0."""

_MOST_FRAMES = 8
_MOST_MATRICES = 12
_MOST_NUMBERS = 6

Table = list[list[int]]
"""depth × task → variant."""


def draw_merge_tree(artefact: dict[str, Any], path: Path) -> None:
    """Write the picture as PNG and SVG.

    Args:
        artefact: `tasks` and `units`, names; `frames`: the network's states in order, each with the `epoch` it is from,
            the `table` of its sharing plan, its `parameters` and an image's `flops`; and, where the tree was learned,
            `similarity`: one entry for every group of tasks that was tested, with the `phase`, `epoch`, `unit`, `tasks`,
            the groups `merged`, and the similarity matrices `before` and (or None) `after`; `measure`, what they hold.
        path: of the files; its ending is replaced by theirs.
    """
    tested = artefact.get("similarity") or []
    frames = thinned(artefact["frames"], _MOST_FRAMES)
    size = len(artefact["tasks"])
    again = any(entry["after"] is not None for entry in tested)
    rows = [0.3 * len(artefact["units"]) + 1.7]
    if tested:
        rows.append((0.75 if again else 0.45) * size * 0.42 + (2.3 if again else 1.5))
    if len(frames) > 1:
        rows.append(2.3)
    width = max(7.0, len(frames) * (0.32 * size + 0.7) + 0.8)
    with paint.canvas(width, sum(rows)) as figure:
        parts = list(figure.subfigures(len(rows), 1, height_ratios=rows, squeeze=False)[:, 0])
        _strip(parts.pop(0), artefact, frames)
        if tested:
            _similarity(parts.pop(0), tested, again, str(artefact.get("measure", "CKA of the tasks' features")))
        if parts:
            _cost(parts.pop(0), artefact["frames"], tested)
        paint.save(figure, path.with_suffix(""))


def wrong_merge_tree(artefact: Any) -> str:
    """Why `draw_merge_tree` cannot draw it; empty where it can."""
    if not isinstance(artefact, Mapping) or not all(are_names(artefact.get(key)) for key in ("tasks", "units")):
        return "`tasks` and `units` are expected to be lists of names"
    frames, tested = artefact.get("frames"), artefact.get("similarity") or []
    if not isinstance(frames, list) or not frames or not isinstance(tested, list):
        return "`frames` is expected to be a list, not empty, and `similarity` a list"
    units, tasks = len(artefact["units"]), len(artefact["tasks"])
    for frame in frames:
        if not isinstance(frame, Mapping) or not all(is_finite(frame.get(key)) for key in ("epoch", "parameters", "flops")):
            return "every frame is expected to have numbers `epoch`, `parameters` and `flops`"
        if frame["parameters"] <= 0 or frame["flops"] <= 0:
            return "`parameters` and `flops` of every frame are expected to be more than 0"
        table: Any = frame.get("table")
        if not is_matrix(table, units, tasks) or not all(is_count(entry) for row in table for entry in row):
            return f"`table` of every frame is expected to be {units} × {tasks} variant numbers"
    return next((wrong for entry in tested if (wrong := _wrong_test(entry))), "")


def _wrong_test(entry: Any) -> str:
    if not isinstance(entry, Mapping) or not are_names(entry.get("tasks")) or not isinstance(entry.get("unit"), str):
        return "every entry of `similarity` is expected to have a `unit` and `tasks`"
    merged = entry.get("merged")
    if not is_finite(entry.get("epoch")) or not isinstance(merged, list) or not all(map(are_names, merged)):
        return "every entry of `similarity` is expected to have an `epoch` and the groups `merged`"
    size = len(entry["tasks"])
    for key in ("before", "after"):
        if key not in entry or (entry[key] is not None and not is_matrix(entry[key], size, size)):
            return f"`{key}` of every entry of `similarity` is expected to be {size} × {size} numbers, or null"
    return ""


def thinned(items: list[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def _strip(figure: SubFigure, artefact: dict[str, Any], frames: list[dict[str, Any]]) -> None:
    """A tree a frame, the image at the bottom and the heads at the top."""
    panels = figure.subplots(1, len(frames), sharey=True, squeeze=False)[0]
    for axes, frame in zip(panels, frames, strict=True):
        _tree(axes, frame["table"], artefact["tasks"])
        start = "start" if frame["epoch"] == 0 else f"epoch {frame['epoch']}"
        axes.set_title(start if len(frames) > 1 else "", fontsize=8.5)
    panels[0].set_yticks(range(len(artefact["units"])), [paint.clip(unit, 14) for unit in artefact["units"]], fontsize=7.5)
    figure.suptitle("units that tasks share, from the given epoch on", x=0.01, ha="left", fontsize=9)


def _tree(axes: Axes, table: Table, tasks: list[str]) -> None:
    """Nodes stand above the middle of the tasks that they serve; lines lead to the nodes below."""
    places: list[dict[int, float]] = []
    for row in table:
        members: dict[int, list[int]] = {}
        for task, variant in enumerate(row):
            members.setdefault(variant, []).append(task)
        places.append({variant: sum(own) / len(own) for variant, own in members.items()})
    for depth, row in enumerate(table):
        for task, variant in enumerate(row):
            if depth:
                below = places[depth - 1][table[depth - 1][task]]
                axes.plot([below, places[depth][variant]], [depth - 1, depth], color="#BBBBBB", linewidth=1.1, zorder=1)
        for variant, place in places[depth].items():
            users = row.count(variant)
            colour = paint.COLOURS[variant % len(paint.COLOURS)] if users == 1 else "#333333"
            axes.scatter([place], [depth], s=22 + 16 * (users - 1), color=colour, zorder=2)
    for task, variant in enumerate(table[-1]):
        colour = paint.COLOURS[task % len(paint.COLOURS)]
        axes.plot([places[-1][variant], task], [len(table) - 1, len(table) - 0.45], color=colour, linewidth=1.3, zorder=1)
    axes.set_xlim(-0.6, len(tasks) - 0.4)
    axes.set_ylim(-0.5, len(table) - 0.4)
    axes.set_xticks(range(len(tasks)), [paint.clip(task, 9) for task in tasks], rotation=90, fontsize=6.5)
    axes.xaxis.tick_bottom()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _similarity(figure: SubFigure, tested: list[dict[str, Any]], again: bool, measure: str) -> None:
    """For every tested group the similarity before and, where any was measured again, after."""
    shown = thinned(tested, _MOST_MATRICES)
    keys = ("before", "after") if again else ("before",)
    panels = figure.subplots(len(keys), len(shown), squeeze=False)
    for column, entry in enumerate(shown):
        merged = "; ".join("+".join(paint.clip(task, 4) for task in group) for group in entry["merged"])
        title = f"{paint.clip(entry['unit'], 12)}, ep. {entry['epoch']}\n{paint.clip(merged, 20) or 'nothing merges'}"
        panels[0][column].set_title(title, fontsize=7)
        for row, key in enumerate(keys):
            named = column == 0 or entry["tasks"] != shown[0]["tasks"]
            _matrix(panels[row][column], entry[key], entry["tasks"] if named else [])
    if again:
        for row, word in enumerate(keys):
            panels[row][0].set_ylabel(word, fontsize=8)
    more = "; merged tasks have one feature after" if again else ""
    figure.suptitle(f"{paint.clip(measure, 60)} at the tested unit{more}", x=0.01, ha="left", fontsize=9)


def _matrix(axes: Axes, values: list[list[float]] | None, names: list[str]) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=6)
    if values is None:
        return
    axes.imshow(values, cmap=ALIKE, vmin=0, vmax=1)
    axes.set_yticks(range(len(names)), [paint.clip(name, 7) for name in names])
    if len(values) <= _MOST_NUMBERS:
        for row, own in enumerate(values):
            for column, value in enumerate(own):
                number = "1" if value >= 0.995 else f"{value:.2f}".replace("0.", ".")
                axes.text(column, row, number, ha="center", va="center", fontsize=5.5,
                          color="white" if value > 0.55 else "#333333")  # fmt: skip


def _cost(figure: SubFigure, frames: list[dict[str, Any]], tested: list[dict[str, Any]]) -> None:
    """Parameters and FLOPs as steps over epochs, relative to the start."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    epochs = [frame["epoch"] for frame in frames]
    end = max([*epochs, *(entry["epoch"] for entry in tested)]) + 1
    for (key, label, unit, scale), colour in zip(
        (("parameters", "parameters", "M", 1e6), ("flops", "FLOPs an image", "G", 1e9)), paint.COLOURS, strict=False
    ):
        values = [frame[key] / frames[0][key] for frame in frames]
        ends = f"{label}: {frames[0][key] / scale:.3g} → {frames[-1][key] / scale:.3g} {unit}"
        axes.step([*epochs, end], [*values, values[-1]], where="post", color=colour, label=ends)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("relative to the start", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, loc="lower left")
