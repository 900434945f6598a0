"""The first page: one line per dataset, the diagram over datasets, and what all pages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mtlbench.leaderboard import critical_difference_plot, number_format, site
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.drawn_state import BoardState, IndexEntry, State, is_up_to_date, key_of, read_state, write_state
from mtlbench.leaderboard.reported import OTHER_DATA, Reported
from mtlbench.records import write_text

DIAGRAM = "critical_differences"


def index_entry(board: Board) -> IndexEntry:
    """The line of a dataset."""
    table = board.tables[0]
    best = next((row for row in table.rows if row.ranked), table.rows[0])
    form = number_format.number_formats(table)[table.sort]
    return IndexEntry(
        dataset=board.dataset,
        best=best.title,
        quality=f"{number_format.header(table.column(table.sort), form)} {form.cell(best.cells[table.sort])}",
        methods=len({row.name for table in board.tables for row in table.rows}),
        records=sum(len(row.records) for table in board.tables for row in table.rows),
        protocols=len(board.tables),
    )


def ranks(board: Board) -> dict[str, float]:
    """Row → rank by Δ, in the largest table."""
    return {row.title: row.cells["rank/task"].mean for row in board.tables[0].rows if row.ranked}


def write_index(
    out: Path, states: Mapping[str, BoardState], refused: Sequence[str], published: Sequence[Reported]
) -> list[Path]:
    """Write the page; the diagram over datasets is drawn when ranks changed.

    Args:
        states: dataset → what was drawn of it.
        refused: one line per record that was left out.

    Returns:
        the page and the files of the diagram.
    """
    diagram = [out / name for name in _shared_files(out, states) if not name.startswith("assets/")]
    entries = [state.entry for state in states.values() if state.entry is not None]
    others = [row for row in published if row.fields["dataset"] in OTHER_DATA]
    page, path = site.index(entries, refused, DIAGRAM if diagram else "", others), out / "index.html"
    if not path.exists() or path.read_text(encoding="utf-8") != page:
        write_text(path, page)
    return [path, *diagram]


def _shared_files(out: Path, states: Mapping[str, BoardState]) -> list[str]:
    """Names of the diagram's files and of what all pages share, drawn anew where they are out of date."""
    ranks_by_dataset = {dataset: state.ranks for dataset, state in states.items()}
    key, before = key_of(ranks_by_dataset), read_state(out, State)
    if before is not None and is_up_to_date(out, before, key):
        return before.outputs
    for name, content in site.assets().items():
        write_text(out / "assets" / name, content)
    diagram = critical_difference_plot.draw(ranks_by_dataset, out / DIAGRAM)
    names = [*(f"assets/{name}" for name in site.ASSETS), *(path.name for path in diagram)]
    write_state(out, State(key=key, outputs=names))
    return names
