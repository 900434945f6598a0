"""What soft sharing passes on, drawn into the picture of a sharing plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtlbench.records import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPERT = "#D9D9D9"
ARROW = "#222222"

WIDEST = 8.0
"""Line width of an edge of weight 1 (or of a plan's heaviest, if that is more), for cells of one inch."""

THINNEST = 0.5


def columns(plan: Plan) -> list[str]:
    """The columns of a plan's picture: what belongs to no single task (experts), then the tasks."""
    named = [name for edge in plan.exchange for name in (edge.source, edge.target)]
    return [*dict.fromkeys(name for name in named if name not in plan.tasks), *plan.tasks]


def without_own_features(plan: Plan) -> set[tuple[int, str]]:
    """(depth, task) where a task runs nothing but what experts run for it: its cell is one of theirs."""
    own = {edge.source for edge in plan.exchange if edge.source == edge.target}
    return {
        (depth, edge.target)
        for edge in plan.exchange
        if edge.source not in plan.tasks and edge.target in plan.tasks and edge.target not in own
        for depth in range(edge.since, edge.depth + 1)
    }


def draw_exchange(axes: Axes, plan: Plan, left: float, cell: float) -> None:
    """Cells of experts, and an arrow per edge from what is passed on to who reads it at the next depth.

    Args:
        left: where the first column stands.
        cell: height of a cell in inches.
    """
    at = {name: left + number for number, name in enumerate(columns(plan))}
    experts = {
        (at[edge.source], depth)
        for edge in plan.exchange
        if edge.source not in plan.tasks
        for depth in range(edge.since, edge.depth + 1)
    }
    if experts:
        xs, ys = zip(*sorted(experts), strict=True)
        axes.scatter(xs, ys, (52 * cell) ** 2, marker="s", color=EXPERT, edgecolor="white", zorder=2)
    heaviest = max([1.0, *(abs(edge.weight) for edge in plan.exchange)])
    for edge in plan.exchange:
        if edge.source == edge.target:
            continue
        axes.annotate(
            "",
            xy=(at[edge.target], edge.depth + 0.85),
            xytext=(at[edge.source], edge.depth + 0.15),
            zorder=4,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.14,head_length=0.22",
                "color": ARROW,
                "linewidth": max(THINNEST, WIDEST * cell * abs(edge.weight) / heaviest),
                "linestyle": "-" if edge.weight >= 0 else ":",
                "shrinkA": 0,
                "shrinkB": 0,
                "alpha": 0.75,
            },
        )
