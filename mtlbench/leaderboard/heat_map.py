"""Heat maps with their numbers in the cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mtlbench.leaderboard.plot_text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh


def draw_heat_map(
    axes: Axes,
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    limits: tuple[float, float],
    colours: str,
    numbers: Sequence[Sequence[str]] | None = None,
    number_size: float = 7,
    label_size: float = 8,
    label_length: int = 24,
) -> QuadMesh:
    """Draw values as colours, the first row at the top; what is not finite stays empty.

    Args:
        values: rows × columns; the centre of a cell is at (column + 0.5, row + 0.5).
        rows, columns: names of both sides; none there where empty.
        limits: the values with the first and the last colour.
        colours: a colour map of matplotlib.
        numbers: texts in the cells, as many as values.
        label_length: letters of a name that are shown.

    Returns:
        what a colour bar is made for.
    """
    import seaborn as sns

    array = np.array(values, dtype=float)
    sns.heatmap(
        array,
        mask=~np.isfinite(array),
        vmin=limits[0],
        vmax=limits[1],
        cmap=colours,
        annot=False if numbers is None else np.array(numbers),
        fmt="",
        annot_kws={"fontsize": number_size},
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        ax=axes,
    )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=label_size)
    axes.set_xticks(
        [place + 0.5 for place in range(len(columns))],
        [shortened(name, label_length) for name in columns],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks([place + 0.5 for place in range(len(rows))], [shortened(name, label_length) for name in rows])
    mesh: QuadMesh = axes.collections[0]  # type: ignore[assignment]  # of the kind that `heatmap` adds
    return mesh


def two_decimals(values: Sequence[Sequence[float]]) -> list[list[str]]:
    """Numbers as texts for the cells."""
    return [[f"{value:.2f}" for value in row] for row in values]
