"""A network that merges while it is trained: its tree over time, which tasks were alike when, and what it cost.

Drawn from the artefact "merge_tree" of a record, whatever method left it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.heat_map import draw_heat_map
from mtlbench.leaderboard.plot_style import COLOURS
from mtlbench.leaderboard.plot_text import shortened
from mtlbench.records import MergeTree, TreeFrame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SIMILARITY_COLOURS = "YlGnBu"
"""Of 0 … 1; what is below 0 is shown as 0."""

MOST_FRAMES = 8
MOST_TESTS = 12
MOST_NUMBERED_TASKS = 6

_Item = TypeVar("_Item")


def draw_merge_tree(tree: MergeTree, stem: Path) -> list[Path]:
    """Write the picture as PNG and SVG: the tree at some epochs, the tests and, where the tree changed, what it cost."""
    frames = thinned(tree.frames, MOST_FRAMES)
    size = len(tree.tasks)
    again = any(test.after is not None for test in tree.similarity)
    heights = [0.3 * len(tree.units) + 1.7]
    if tree.similarity:
        heights.append((0.75 if again else 0.45) * size * 0.42 + (2.3 if again else 1.5))
    if len(frames) > 1:
        heights.append(2.3)
    width = max(7.0, len(frames) * (0.32 * size + 0.7) + 0.8)
    with new_figure(width, sum(heights)) as figure:
        parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        _frames(parts.pop(0), tree, frames)
        if tree.similarity:
            _similarity(parts.pop(0), tree, again)
        if parts:
            _cost(parts.pop(0), tree)
        return save_figure(figure, stem)


def thinned(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def _frames(figure: SubFigure, tree: MergeTree, frames: Sequence[TreeFrame]) -> None:
    """One tree per frame, the image at the bottom and the heads at the top."""
    panels = figure.subplots(1, len(frames), sharey=True, squeeze=False)[0]
    for axes, frame in zip(panels, frames, strict=True):
        _frame(axes, frame.table, tree.tasks)
        start = "start" if frame.epoch == 0 else f"epoch {frame.epoch}"
        axes.set_title(start if len(frames) > 1 else "", fontsize=8.5)
    panels[0].set_yticks(range(len(tree.units)), [shortened(unit, 14) for unit in tree.units], fontsize=7.5)
    figure.suptitle("units that tasks share, from the given epoch on", x=0.01, ha="left", fontsize=9)


def _frame(axes: Axes, table: Sequence[Sequence[int]], tasks: Sequence[str]) -> None:
    """Nodes stand above the middle of the tasks that they serve; lines lead to the nodes below."""
    places: list[dict[int, float]] = []
    for row in table:
        members: dict[int, list[int]] = {}
        for task, variant in enumerate(row):
            members.setdefault(variant, []).append(task)
        places.append({variant: sum(group) / len(group) for variant, group in members.items()})
    for depth, row in enumerate(table):
        for task, variant in enumerate(row):
            if depth:
                below = places[depth - 1][table[depth - 1][task]]
                axes.plot([below, places[depth][variant]], [depth - 1, depth], color="#BBBBBB", linewidth=1.1, zorder=1)
        for variant, place in places[depth].items():
            users = list(row).count(variant)
            colour = COLOURS[variant % len(COLOURS)] if users == 1 else "#333333"
            axes.scatter([place], [depth], s=22 + 16 * (users - 1), color=colour, zorder=2)
    for task, variant in enumerate(table[-1]):
        colour = COLOURS[task % len(COLOURS)]
        axes.plot([places[-1][variant], task], [len(table) - 1, len(table) - 0.45], color=colour, linewidth=1.3, zorder=1)
    axes.set_xlim(-0.6, len(tasks) - 0.4)
    axes.set_ylim(-0.5, len(table) - 0.4)
    axes.set_xticks(range(len(tasks)), [shortened(task, 9) for task in tasks], rotation=90, fontsize=6.5)
    axes.xaxis.tick_bottom()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _similarity(figure: SubFigure, tree: MergeTree, again: bool) -> None:
    """For every tested group the similarity before and, where any was measured again, after."""
    tests = thinned(tree.similarity, MOST_TESTS)
    titles = ("before", "after") if again else ("before",)
    panels = figure.subplots(len(titles), len(tests), squeeze=False)
    for column, test in enumerate(tests):
        merged = "; ".join("+".join(shortened(task, 4) for task in group) for group in test.merged)
        title = f"{shortened(test.unit, 12)}, ep. {test.epoch}\n{shortened(merged, 20) or 'nothing merges'}"
        panels[0][column].set_title(title, fontsize=7)
        names = test.tasks if column == 0 or test.tasks != tests[0].tasks else []
        for row, matrix in enumerate((test.before, test.after)[: len(titles)]):
            _matrix(panels[row][column], matrix, names)
    if again:
        for row, title in enumerate(titles):
            panels[row][0].set_ylabel(title, fontsize=8)
    more = "; merged tasks have one feature after" if again else ""
    figure.suptitle(f"{shortened(tree.measure, 60)} at the tested unit{more}", x=0.01, ha="left", fontsize=9)


def _matrix(axes: Axes, values: Sequence[Sequence[float]] | None, names: Sequence[str]) -> None:
    if values is None:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        return
    numbers = [["1" if value >= 0.995 else f"{value:.2f}".replace("0.", ".") for value in row] for row in values]
    draw_heat_map(
        axes,
        values,
        names,
        [],
        limits=(0, 1),
        colours=SIMILARITY_COLOURS,
        numbers=numbers if len(values) <= MOST_NUMBERED_TASKS else None,
        number_size=5.5,
        label_size=6,
        label_length=7,
    )
    axes.set_aspect("equal")


def _cost(figure: SubFigure, tree: MergeTree) -> None:
    """Parameters and FLOPs as steps over epochs, relative to the start."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    epochs = [frame.epoch for frame in tree.frames]
    end = max([*epochs, *(test.epoch for test in tree.similarity)]) + 1
    costs = {
        "parameters": ([frame.parameters / 1e6 for frame in tree.frames], "M"),
        "FLOPs per image": ([frame.flops / 1e9 for frame in tree.frames], "G"),
    }
    for (title, (values, unit)), colour in zip(costs.items(), COLOURS, strict=False):
        relative = [value / values[0] for value in values]
        label = f"{title}: {values[0]:.3g} → {values[-1]:.3g} {unit}"
        axes.step([*epochs, end], [*relative, relative[-1]], where="post", color=colour, label=label)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("relative to the start", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, loc="lower left")
