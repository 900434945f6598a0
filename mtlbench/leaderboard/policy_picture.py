"""A select-or-skip policy: which task executes which block, how that came about, and which tasks decide alike.

Drawn from the artefact "policy" of a record, whatever method left it there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.heat_map import draw_heat_map, two_decimals
from mtlbench.leaderboard.plot_text import literal, shortened
from mtlbench.records import Policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

PROBABILITY_COLOURS = "PuOr_r"
"""What is undecided (½) is white."""

CORRELATION_COLOURS = "BrBG"
"""Of −1 … 1."""

MOST_NAMED_BLOCKS = 20
MOST_NUMBERED_TASKS = 8
MOST_EVOLUTIONS = 8


def draw_policy(policy: Policy, stem: Path) -> list[Path]:
    """Write the picture as PNG and SVG: decisions, correlation of the tasks' policies and, where known, the history."""
    tasks, blocks = len(policy.tasks), len(policy.blocks)
    height = max(1.5, 0.34 * tasks) + 1.5
    width = max(7.5, 0.52 * blocks + 3.4 + 0.3 * tasks)
    heights = [height, 0.19 * blocks + 1.3] if policy.history else [height]
    with new_figure(width, sum(heights)) as figure:
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        left, right = parts[0].subplots(1, 2, width_ratios=[blocks + 1, max(4, tasks) + 1])
        _decisions(parts[0], left, policy)
        _correlation(parts[0], right, policy)
        if policy.history:
            _evolution(parts[1], policy)
        return save_figure(figure, stem)


def _decisions(figure: SubFigure, axes: Axes, policy: Policy) -> None:
    """Tasks × blocks: colour and number are the probability; a cell that is skipped is crossed out."""
    few = len(policy.blocks) <= MOST_NAMED_BLOCKS
    numbers = [["1" if value > 0.995 else f"{value:.2f}".lstrip("0") for value in row] for row in policy.probability]
    step = 1 if few else max(1, len(policy.blocks) // 12)
    mesh = draw_heat_map(
        axes,
        policy.probability,
        policy.tasks,
        [name if place % step == 0 else "" for place, name in enumerate(policy.blocks)],
        limits=(0, 1),
        colours=PROBABILITY_COLOURS,
        numbers=numbers if few else None,
        number_size=7.5,
        label_size=7.5,
        label_length=16,
    )
    # Numbers stay readable on top of the crosses.
    for text, colour in zip(axes.texts, mesh.get_facecolor(), strict=False):
        text.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 0.8})
    for row, decisions in enumerate(policy.decision):
        for column, executed in enumerate(decisions):
            if not executed:
                for ends in ((row + 0.08, row + 0.92), (row + 0.92, row + 0.08)):
                    axes.plot((column + 0.08, column + 0.92), ends, color="#888888", linewidth=1.1, zorder=2)
    axes.set_title("probability of execution; crossed out: skipped", loc="left", fontsize=9)
    figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7.5)


def _correlation(figure: SubFigure, axes: Axes, policy: Policy) -> None:
    """Tasks × tasks."""
    mesh = draw_heat_map(
        axes,
        policy.correlation,
        [],
        policy.tasks,
        limits=(-1, 1),
        colours=CORRELATION_COLOURS,
        numbers=two_decimals(policy.correlation) if len(policy.tasks) <= MOST_NUMBERED_TASKS else None,
        number_size=7.5,
        label_size=7.5,
        label_length=14,
    )
    axes.set_title("correlation of policies", loc="left", fontsize=9)
    figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02).ax.tick_params(labelsize=7.5)


def _evolution(figure: SubFigure, policy: Policy) -> None:
    """One panel per task: blocks × epochs of policy learning, the last block at the top; above the line: gated."""
    tasks, blocks, history = policy.tasks[:MOST_EVOLUTIONS], policy.blocks, policy.history
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    first, last = history[0].epoch, history[-1].epoch
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
        values = list(zip(*(epoch.probability[number] for epoch in history), strict=True))
        axes.imshow(
            values, cmap=PROBABILITY_COLOURS, vmin=0, vmax=1, aspect="auto", origin="lower", interpolation="none",
            extent=(first - 0.5, last + 0.5, -0.5, len(blocks) - 0.5),
        )  # fmt: skip
        edges = [epoch.epoch - 0.5 for epoch in history] + [last + 0.5]
        axes.stairs([len(blocks) - epoch.gated - 0.5 for epoch in history], edges, baseline=None, color="#444444")
        axes.set_title(shortened(task, 20), fontsize=8.5)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7.5)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.grid(visible=False)
    step = 1 if len(blocks) <= MOST_NAMED_BLOCKS else max(1, len(blocks) // 12)
    panels[0].set_yticks(range(0, len(blocks), step), [literal(name) for name in blocks[::step]], fontsize=7)
    figure.suptitle("over policy learning (blocks below the line are executed by all)", x=0.01, ha="left", fontsize=9)
