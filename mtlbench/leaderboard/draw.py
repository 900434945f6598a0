"""Draws everything: from a folder of records to a folder of leaderboards, and only what changed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.leaderboard import reported
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.board_files import write_board
from mtlbench.leaderboard.drawn_state import BoardState, board_key, is_up_to_date, read_state, write_state
from mtlbench.leaderboard.index_page import index_entry, ranks, write_index
from mtlbench.leaderboard.loading import no_garbage_collection, read_checked, read_epochs_on_test
from mtlbench.leaderboard.parallel import run_all
from mtlbench.leaderboard.record_checks import NAME
from mtlbench.leaderboard.record_files import require_datasets, scan
from mtlbench.leaderboard.terminal import BoardSummary, summary


@dataclass(frozen=True)
class Drawn:
    """What `draw_all` did.

    Attributes:
        files: every file of the datasets asked for, the README of each first; then the index.
        drawn, kept: datasets that were drawn anew, and that were up to date.
        refused: one line per record that was left out: its file and what is wrong with it.
        summaries: what the terminal shows of the datasets asked for.
    """

    files: list[Path]
    drawn: list[str]
    kept: list[str]
    refused: list[str]
    summaries: list[BoardSummary]


def draw(results: Path, out: Path, datasets: Sequence[str] | None = None) -> list[Path]:
    """Write the leaderboards of all datasets, or of those named, and the index; returns the files (see `draw_all`)."""
    return draw_all(results, out, datasets).files


def draw_all(results: Path, out: Path, datasets: Sequence[str] | None = None, published: Path | None = None) -> Drawn:
    """Write `out/<dataset>/README.md`, CSV, LaTeX, page and pictures, and `out/index.html`.

    The same records give the same bytes. Bad records are left out and named; the rest is drawn.

    Args:
        results: folder of records, searched with its subfolders.
        out: folder of leaderboards.
        datasets: draw these only; the index keeps the others that were drawn before.
        published: folder of reported numbers; `out/reported` by default, nothing where there is none.

    Raises:
        UserError: the folder does not exist, or has no record of a dataset that was asked for.
    """
    files = scan(results)
    require_datasets(results, datasets, files.names)
    published = published or out / "reported"
    rows = reported.read(published) if published.is_dir() else []
    states = {name: state for name in files.names if (state := _state(out, name)) is not None}
    # A dataset without a good name has no folder with a state, and is read each time.
    asked = [name for name in sorted(files.names) if not datasets or name in datasets or not NAME.fullmatch(name)]
    jobs, kept = [], []
    for dataset in asked:
        own = [row for row in rows if row.fields["dataset"] == dataset]
        digests = {name: files.digests[name] for name in files.names[dataset]}
        key = board_key(os.path.relpath(results, out), digests, own)
        if is_up_to_date(out / dataset, states.get(dataset), key):
            kept.append(dataset)
        else:
            jobs.append(_Job(dataset, files.names[dataset], own, key))
    if jobs:
        _import_libraries()
    with no_garbage_collection():
        # The largest first, so that no process is left with it at the end.
        largest_first = sorted(jobs, key=lambda job: -len(job.names))
        states |= run_all(lambda job: (job.dataset, _draw(results, out, job, states.get(job.dataset))), largest_first)
    present = {dataset: state for dataset, state in sorted(states.items()) if state.outputs}
    require_datasets(results, datasets, present)
    chosen = [dataset for dataset in asked if dataset in present]
    refused = [line for dataset in sorted(states) for line in states[dataset].refused]
    return Drawn(
        files=[
            *(out / dataset / name for dataset in chosen for name in present[dataset].outputs),
            *write_index(out, present, refused, rows),
        ],
        drawn=[job.dataset for job in jobs if job.dataset in present],
        kept=[dataset for dataset in kept if dataset in present],
        refused=[line for dataset in asked for line in states[dataset].refused],
        summaries=[summary for dataset in chosen if (summary := present[dataset].summary) is not None],
    )


@dataclass(frozen=True)
class _Job:
    """One dataset to draw: the names of its records, its reported rows, and the key of both."""

    dataset: str
    names: list[str]
    published: list[reported.Reported]
    key: str


def _state(out: Path, dataset: str) -> BoardState | None:
    return read_state(out / dataset, BoardState) if NAME.fullmatch(dataset) else None


def _draw(results: Path, out: Path, job: _Job, before: BoardState | None) -> BoardState:
    """Draw one dataset and say what from. Files of an earlier drawing that are no longer made are removed."""
    files, refused = read_checked([results / name for name in job.names])
    own = [(path, record) for path, record in files if record.dataset == job.dataset]
    refused += [f"{path}: names two datasets" for path, record in files if record.dataset != job.dataset]
    folder = out / job.dataset
    state = BoardState(key=job.key, outputs=[])
    for board in boards(record for _, record in own):
        links = {record.id: Path(os.path.relpath(path, folder)).as_posix() for path, record in own}
        epochs, bad_epochs = read_epochs_on_test(own)
        paths, undrawable = write_board(board, folder, links, job.published, epochs)
        refused += bad_epochs + undrawable
        state = BoardState(
            key=job.key,
            outputs=[path.name for path in paths],
            entry=index_entry(board),
            summary=summary(board),
            ranks=ranks(board),
        )
    state.refused = refused
    for name in set(before.outputs if before else ()) - set(state.outputs):
        (folder / name).unlink(missing_ok=True)
    if NAME.fullmatch(job.dataset):
        write_state(folder, state)
    return state


def _import_libraries() -> None:
    """Import what every drawing needs, here and now: forked processes then have it."""
    for name in ("seaborn", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "jinja2"):
        importlib.import_module(name)
