"""All files of one dataset's leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mtlbench.leaderboard import (
    artefacts,
    curves,
    export,
    figures,
    inflation,
    latex,
    markdown,
    plans,
    robustness_pictures,
    robustness_tables,
    site,
)
from mtlbench.leaderboard.reported import Reported
from mtlbench.leaderboard.table import Board, Table
from mtlbench.records import write_text
from mtlbench.records.epochs_on_test import EpochsOnTest

Picture = tuple[str, str, Callable[[Table, Path], list[Path]]]

PICTURES: tuple[Picture, ...] = (
    (
        "quality_vs_cost",
        "Quality against FLOPs and parameters, with the Pareto front; small dots are seeds, the band is the reference's",
        figures.trade_off,
    ),
    (
        "tasks",
        "Primary metric of every task, with 95 % t intervals; dots are seeds, the dotted line is the reference",
        figures.bars,
    ),
    ("ranks", "Ranks under the three definitions of Δ", figures.rank_plot),
    ("training", "Val skill during training, with 95 % t bands", curves.training),
    ("plans", "Sharing plans, input at the bottom; equal letters share weights", plans.side_by_side),
    *robustness_pictures.PICTURES,
)
"""File name, caption, and what draws it."""


def draw_board(
    board: Board,
    folder: Path,
    links: Mapping[str, str],
    published: Sequence[Reported],
    epochs_on_test: Mapping[str, EpochsOnTest] | None = None,
    left_out: list[str] | None = None,
) -> list[Path]:
    """Write Markdown, CSV, LaTeX, page and pictures of one dataset; returns the files, the Markdown first.

    Args:
        links: record id → its file, relative to the folder.
        published: reported rows of this dataset.
        epochs_on_test: record id → every selectable epoch evaluated on test, where that was measured.
        left_out: gets a line for every picture that could not be drawn.
    """
    left_out = [] if left_out is None else left_out
    seen = epochs_on_test or {}
    drawn: list[Path] = []
    pictures: dict[str, list[tuple[str, str]]] = {}
    texts: dict[str, str] = {}
    for table in board.tables:
        found = pictures.setdefault(table.protocol_id, [])
        for name, caption, draw in PICTURES:
            stem = f"{name}-{table.protocol_id}"
            files = draw(table, folder / stem)
            if files:
                drawn += files
                found.append((stem, caption))
        for stem, caption, files in artefacts.draw(table, folder, left_out):
            drawn += files
            found.append((stem, caption))
        texts[f"leaderboard-{table.protocol_id}.tex"] = latex.table(table)
    texts = {
        "README.md": markdown.board(board, pictures),
        "index.html": site.page(board, pictures, links, published, inflation.views(board, seen)),
        "leaderboard.csv": export.leaderboard(board),
        "seeds.csv": export.seeds(board),
        **({"robustness.csv": cells} if (cells := robustness_tables.cells_csv(board)) else {}),
        **(
            {"selection_inflation.md": looked, "selection_inflation.csv": inflation.csv_text(board, seen)}
            if (looked := inflation.markdown(board, seen))
            else {}
        ),
        **texts,
    }
    for name, content in texts.items():
        write_text(folder / name, content)
    return [*(folder / name for name in texts), *drawn]
