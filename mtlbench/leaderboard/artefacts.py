"""Pictures of single methods, drawn from what their records say of how they came about. Known by the artefact's kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtlbench.leaderboard import paint
from mtlbench.leaderboard.policy_picture import draw_policy, wrong_policy
from mtlbench.leaderboard.shapes import is_number
from mtlbench.leaderboard.table import Table
from mtlbench.leaderboard.tree_picture import draw_merge_tree, wrong_merge_tree


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
                axes.plot(
                    *zip(*points, strict=True), marker="o", markersize=3, label=paint.literal(pair.replace("|", " · "))
                )
        axes.axhline(0.0, color="0.4", linewidth=0.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cosine of task gradients")
        if pairs:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
        paint.save(figure, path.with_suffix(""))


def wrong_gradients(artefact: Any) -> str:
    """Why `draw_gradients` cannot draw it; empty where it can."""
    epochs = artefact.get("epochs") if isinstance(artefact, Mapping) else None
    if not isinstance(epochs, list) or not all(isinstance(epoch, Mapping) for epoch in epochs):
        return "`epochs` is expected to be a list"
    for epoch in epochs:
        cosines = epoch.get("cosine")
        if not isinstance(cosines, Mapping) or not all(one is None or is_number(one) for one in cosines.values()):
            return "`cosine` of every epoch is expected: task|task → number or null"
    return ""


class Kind(NamedTuple):
    """A kind of artefact: its caption, what draws it (PNG and SVG), and what says why it cannot be drawn ("" if it can)."""

    caption: str
    picture: Callable[[dict[str, Any], Path], None]
    wrong: Callable[[Any], str]


KINDS: dict[str, Kind] = {
    "policy": Kind("What each task executes and skips", draw_policy, wrong_policy),
    "merge_tree": Kind("How the task networks merged", draw_merge_tree, wrong_merge_tree),
    "diagnostics": Kind("Cosine between the tasks' gradients", draw_gradients, wrong_gradients),
}

UNDRAWABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
"""What drawing raises at values that no check foresaw."""


def draw(table: Table, folder: Path, left_out: list[str]) -> Iterator[tuple[str, str, list[Path]]]:
    """Draw every row's artefacts, of its first seed; yields the files' common stem, a caption, and the files.

    Args:
        left_out: gets a line for every picture that could not be drawn: one record must not stop all leaderboards.
    """
    for number, row in enumerate(table.rows):
        for name, kind in KINDS.items():
            record = row.records[0]
            artefact = record.result.artefacts.get(name)
            if artefact:
                plain = re.sub(r"[^A-Za-z0-9]+", "_", row.title).strip("_")[:60]
                stem = f"{name}-{plain}-{number}-{table.protocol_id}"
                try:
                    kind.picture(artefact, folder / f"{stem}.png")
                except UNDRAWABLE as error:
                    left_out.append(f"record {record.id}: its {name} cannot be drawn ({type(error).__name__}: {error})")
                    continue
                files = [folder / f"{stem}{ending}" for ending in (".png", ".svg")]
                yield stem, f"{row.title}, seed {record.seed}: {kind.caption}", files
