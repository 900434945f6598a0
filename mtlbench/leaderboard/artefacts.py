"""Pictures of single methods, drawn from what their records say of how they came about. Known by the artefact's kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.policy_picture import draw_policy
from mtlbench.leaderboard.table import Table
from mtlbench.leaderboard.tree_picture import draw_merge_tree


def draw_gradients(artefact: dict[str, Any], path: Path) -> None:
    """Cosine between the tasks' gradients of the shared weights over training, one line a pair of tasks."""
    epochs = artefact["epochs"]
    pairs = sorted({pair for epoch in epochs for pair in epoch["cosine"]})
    with paint.canvas(7.5, 4.0) as figure:
        axes = figure.subplots()
        for pair in pairs:
            values = [epoch["cosine"].get(pair) for epoch in epochs]
            points = [(number, value) for number, value in enumerate(values, 1) if value is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=pair.replace("|", " · "))
        axes.axhline(0.0, color="0.4", linewidth=0.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cosine of task gradients")
        if pairs:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
        paint.save(figure, path.with_suffix(""))


KINDS: dict[str, tuple[str, Callable[[dict[str, Any], Path], None]]] = {
    "policy": ("What each task executes and skips", draw_policy),
    "merge_tree": ("How the task networks merged", draw_merge_tree),
    "diagnostics": ("Cosine between the tasks' gradients", draw_gradients),
}
"""Artefact → caption, and what draws it (PNG and SVG)."""


def draw(table: Table, folder: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Draw every row's artefacts, of its first seed; yields the files' common stem, a caption, and the files."""
    for number, row in enumerate(table.rows):
        for kind, (caption, picture) in KINDS.items():
            artefact = row.records[0].result.artefacts.get(kind)
            if artefact:
                plain = re.sub(r"[^A-Za-z0-9]+", "_", row.title).strip("_")[:60]
                stem = f"{kind}-{plain}-{number}-{table.protocol_id}"
                picture(artefact, folder / f"{stem}.png")
                files = [folder / f"{stem}{ending}" for ending in (".png", ".svg")]
                yield stem, f"{row.title}, seed {row.records[0].seed}: {caption}", files
