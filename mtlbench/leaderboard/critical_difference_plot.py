"""The critical-difference diagram: mean ranks over datasets, for those who have enough of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtlbench.leaderboard.figure_files import new_figure, save_figure
from mtlbench.leaderboard.plot_text import shortened
from mtlbench.statistics.comparisons import NEMENYI_DATASETS, critical_difference

MOST_METHODS = 24
"""Methods in the diagram, the best ones; the critical difference is that of all."""


def mean_ranks(ranks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean rank of every method that is ranked on all datasets, re-ranked among these; empty below five datasets.

    A dataset on which fewer than two methods are ranked says nothing about which is better, and does not count.

    Args:
        ranks: dataset → method → rank there.
    """
    ranks = compared(ranks)
    if len(ranks) < NEMENYI_DATASETS:
        return {}
    common = sorted(set.intersection(*(set(places) for places in ranks.values())))
    if len(common) < 2:
        return {}
    totals = dict.fromkeys(common, 0.0)
    for places in ranks.values():
        ordered = sorted(places[name] for name in common)
        for name in common:
            first = ordered.index(places[name]) + 1
            totals[name] += first + (ordered.count(places[name]) - 1) / 2
    return {name: total / len(ranks) for name, total in totals.items()}


def compared(ranks: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """The datasets on which at least two methods are ranked."""
    return {dataset: places for dataset, places in ranks.items() if len(places) > 1}


def inseparable_ranges(ranks: Mapping[str, float], difference: float) -> list[tuple[float, float]]:
    """The longest stretches of mean ranks that lie within the critical difference."""
    ordered = sorted(ranks.values())
    stretches: list[tuple[float, float]] = []
    for start in ordered:
        end = max(rank for rank in ordered if rank - start <= difference)
        if end > start and (not stretches or end > stretches[-1][1]):
            stretches.append((start, end))
    return stretches


def draw(ranks: Mapping[str, Mapping[str, float]], stem: Path) -> list[Path]:
    """Draw the diagram; no file below five datasets or with fewer than two methods on all of them."""
    ranks = compared(ranks)
    means = mean_ranks(ranks)
    if not means:
        return []
    difference = critical_difference(len(means), len(ranks))
    order = sorted(means, key=lambda name: (means[name], name))[:MOST_METHODS]
    means = {name: means[name] for name in order}
    bars = inseparable_ranges(means, difference)
    with new_figure(8.0, 1.3 + 0.26 * len(order) + 0.12 * len(bars)) as figure:
        axes = figure.subplots()
        for level, (start, end) in enumerate(bars, start=1):
            axes.plot([start, end], [0.45 * level, 0.45 * level], color="#222222", linewidth=4, solid_capstyle="round")
        base = 0.45 * len(bars) + 0.8
        for place, name in enumerate(order):
            height = base + 0.8 * place
            axes.plot([means[name], means[name], len(order)], [0, height, height], color="#888888", linewidth=0.9)
            axes.plot([means[name]], [0], marker="o", color="#222222", markersize=5)
            axes.annotate(
                f"{shortened(name)}  {means[name]:.2f}",
                (len(order), height),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_xlim(0.9, len(order) + 0.1)
        axes.set_ylim(base + 0.8 * len(order), -0.4)
        axes.xaxis.tick_top()
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.spines["top"].set_visible(True)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_title(
            f"mean rank over {len(ranks)} datasets; critical difference {difference:.2f}", loc="left", fontsize=9.5
        )
        return save_figure(figure, stem)
