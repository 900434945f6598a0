"""Writes all files of one dataset's leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mtlbench.leaderboard import (
    best_of_k_plot,
    frames,
    latex,
    markdown,
    metric_plot,
    plan_plot,
    rank_plot,
    robustness_plots,
    robustness_tables,
    selection_bias,
    site,
    trade_off_plot,
    training_plot,
    tuning_files,
    tuning_gap_plot,
)
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.method_pictures import draw_method_pictures
from mtlbench.leaderboard.reported import Reported
from mtlbench.leaderboard.table import Table
from mtlbench.leaderboard.tuning import TunedTable, tuned_tables
from mtlbench.records import write_text
from mtlbench.records.epochs_on_test import EpochsOnTest

Figure = tuple[str, str, Callable[[Table, Path], list[Path]]]

FIGURES: tuple[Figure, ...] = (
    (
        "quality_vs_cost",
        "Quality against FLOPs and parameters, with the Pareto front; small dots are seeds, the band is the reference's",
        trade_off_plot.draw,
    ),
    (
        "tasks",
        "Primary metric of every task, with 95 % t intervals; dots are seeds, the dotted line is the reference",
        metric_plot.draw,
    ),
    ("ranks", "Ranks under the three definitions of Δ", rank_plot.draw),
    ("training", "Val skill during training, with 95 % t bands", training_plot.draw),
    ("plans", "Sharing plans, input at the bottom; equal letters share weights", plan_plot.draw),
    *robustness_plots.FIGURES,
)
"""File name, caption, and the function that draws it."""


TUNING_FIGURES: tuple[tuple[str, str, Callable[[TunedTable, Path], list[Path]]], ...] = (
    (
        "tuning_gap",
        "What tuning gained: hollow at the defaults, filled when tuned; small dots are seeds (tuning.md has the numbers)",
        tuning_gap_plot.draw,
    ),
    (
        "best_of_k",
        "Skill of the best of k trials by val: expectation and standard deviation over all sets of k trials",
        best_of_k_plot.draw,
    ),
)
"""The same for tables of winners of a search."""


def write_board(
    board: Board,
    folder: Path,
    links: Mapping[str, str],
    published: Sequence[Reported],
    epochs_on_test: Mapping[str, EpochsOnTest] | None = None,
) -> tuple[list[Path], list[str]]:
    """Write Markdown, CSV, LaTeX, page and pictures of one dataset.

    Args:
        links: record id → its file, relative to the folder.
        published: reported rows of this dataset.
        epochs_on_test: record id → every selectable epoch evaluated on test, where that was done.

    Returns:
        the files, the Markdown first, and a line for every picture that could not be drawn.
    """
    drawn: list[Path] = []
    undrawable: list[str] = []
    figures: dict[str, list[tuple[str, str]]] = {}
    for table in board.tables:
        captions = figures.setdefault(table.protocol_id, [])
        for name, caption, draw in FIGURES:
            stem = f"{name}-{table.protocol_id}"
            files = draw(table, folder / stem)
            if files:
                drawn += files
                captions.append((stem, caption))
        pictures, failed = draw_method_pictures(table, folder)
        captions += [(picture.stem, picture.caption) for picture in pictures]
        drawn += [path for picture in pictures for path in picture.files]
        undrawable += failed
    tuned = tuned_tables(board)
    for one in tuned:
        captions = figures[one.table.protocol_id]
        for name, caption, draw_tuning in TUNING_FIGURES:
            stem = f"{name}-{one.table.protocol_id}"
            files = draw_tuning(one, folder / stem)
            if files:
                drawn += files
                captions.append((stem, caption))
    bias = selection_bias.bias_tables(board, epochs_on_test or {})
    texts = {
        "README.md": markdown.readme(board, figures),
        "index.html": site.page(board, figures, links, published, bias),
        "leaderboard.csv": frames.csv_text(frames.rows_frame(board)),
        "seeds.csv": frames.csv_text(frames.seeds_frame(board)),
        **{f"leaderboard-{table.protocol_id}.tex": latex.table(table) for table in board.tables},
    }
    if robustness_tables.has_cells(board):
        texts["robustness.csv"] = frames.csv_text(robustness_tables.cells_frame(board))
    texts |= tuning_files.texts(board, tuned)
    if bias:
        texts["selection_bias.md"] = selection_bias.markdown(board.dataset, bias)
        texts["selection_bias.csv"] = frames.csv_text(selection_bias.bias_frame(bias))
    for name, content in texts.items():
        write_text(folder / name, content)
    return [*(folder / name for name in texts), *drawn], undrawable
