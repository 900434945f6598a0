"""Pictures of single methods, drawn from the artefacts in their records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mtlbench.leaderboard.gradient_plot import draw_gradients
from mtlbench.leaderboard.policy_picture import draw_policy
from mtlbench.leaderboard.table import Table
from mtlbench.leaderboard.tree_picture import draw_merge_tree
from mtlbench.records import Artefacts


class Picture(NamedTuple):
    """The files of a picture (PNG and SVG), their common stem and their caption."""

    stem: str
    caption: str
    files: list[Path]


def _policy(artefacts: Artefacts, stem: Path) -> list[Path]:
    return [] if artefacts.policy is None else draw_policy(artefacts.policy, stem)


def _merge_tree(artefacts: Artefacts, stem: Path) -> list[Path]:
    return [] if artefacts.merge_tree is None else draw_merge_tree(artefacts.merge_tree, stem)


def _diagnostics(artefacts: Artefacts, stem: Path) -> list[Path]:
    return [] if artefacts.diagnostics is None else draw_gradients(artefacts.diagnostics, stem)


KINDS: Mapping[str, tuple[str, Callable[[Artefacts, Path], list[Path]]]] = {
    "policy": ("What each task executes and skips", _policy),
    "merge_tree": ("How the task networks merged", _merge_tree),
    "diagnostics": ("Cosine between the tasks' gradients", _diagnostics),
}
"""Kind of artefact → caption, and the function that draws it (no file where there is none)."""

UNDRAWABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
"""Errors of drawing at values that no check foresaw."""


def draw_method_pictures(table: Table, folder: Path) -> tuple[list[Picture], list[str]]:
    """Draw every row's artefacts, of its first seed.

    Returns:
        the pictures, and a line for every one that could not be drawn: one record must not stop all leaderboards.
    """
    pictures, undrawable = [], []
    for number, row in enumerate(table.rows):
        record = row.records[0]
        plain = re.sub(r"[^A-Za-z0-9]+", "_", row.title).strip("_")[:60]
        for kind, (caption, draw) in KINDS.items():
            stem = f"{kind}-{plain}-{number}-{table.protocol_id}"
            try:
                files = draw(record.result.artefacts, folder / stem)
            except UNDRAWABLE as error:
                undrawable.append(f"record {record.id}: its {kind} cannot be drawn ({type(error).__name__}: {error})")
                continue
            if files:
                pictures.append(Picture(stem, f"{row.title}, seed {record.seed}: {caption}", files))
    return pictures, undrawable
