"""Draw everything: from a folder of records to a folder of leaderboards, and only what changed.

Beside each dataset's files stands `.drawn.json`: what they were drawn from, by content. A dataset whose records, reported
numbers and drawing code are what they were is left as it is.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mtlbench
from mtlbench.errors import UserError, did_you_mean
from mtlbench.leaderboard import critical, parallel, reported, site
from mtlbench.leaderboard import format as text
from mtlbench.leaderboard.board import draw_board
from mtlbench.leaderboard.check import NAME, epochs_on_test_problems, read_checked
from mtlbench.leaderboard.table import Board, boards
from mtlbench.leaderboard.terminal import Summary, summary
from mtlbench.records import Record, epochs_on_test, write_text

STATE = ".drawn.json"


@dataclass(frozen=True)
class Drawn:
    """What `draw_all` did.

    Attributes:
        files: every file of the datasets asked for, the README of each first; then the index.
        drawn, kept: datasets that were drawn anew, and that were up to date.
        refused: one line a record that was left out: its file and what is wrong with it.
        summaries: what the terminal shows of the datasets asked for.
    """

    files: list[Path]
    drawn: list[str]
    kept: list[str]
    refused: list[str]
    summaries: list[Summary]


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
    digests, groups = _survey(results)
    states = _states(out)
    _require(results, datasets, groups)
    rows = _published(published or out / "reported")
    # What has no good name has no folder that remembers it, and is read each time.
    asked = [name for name in sorted(groups) if not datasets or name in datasets or not NAME.fullmatch(name)]
    jobs, kept = [], []
    for dataset in asked:
        mine = [row for row in rows if row.fields["dataset"] == dataset]
        key = _key(os.path.relpath(results, out), {name: digests[name] for name in groups[dataset]}, mine)
        state = states.get(dataset)
        if state and state["key"] == key and all((out / dataset / name).exists() for name in state["outputs"]):
            kept.append(dataset)
        else:
            jobs.append(_Job(dataset, groups[dataset], mine, key))
    if jobs:
        _load()
    with _uncollected():
        # The largest first, so that no process is left with it at the end.
        largest_first = sorted(jobs, key=lambda job: -len(job.names))
        states |= parallel.each(lambda job: (job.dataset, _draw(results, out, job, states.get(job.dataset))), largest_first)
    present = {dataset: state for dataset, state in sorted(states.items()) if dataset in groups and state["outputs"]}
    chosen = [dataset for dataset in asked if dataset in present]
    refused = {dataset: states[dataset]["refused"] for dataset in sorted(groups) if dataset in states}
    _require(results, datasets, present)
    return Drawn(
        files=[
            *(out / dataset / name for dataset in chosen for name in present[dataset]["outputs"]),
            *_index(out, present, [line for lines in refused.values() for line in lines], rows),
        ],
        drawn=[job.dataset for job in jobs if job.dataset in present],
        kept=[dataset for dataset in kept if dataset in present],
        refused=[line for dataset in asked for line in refused[dataset]],
        summaries=[present[dataset]["summary"] for dataset in chosen],
    )


def load(results: Path, datasets: Sequence[str] | None = None) -> tuple[list[Record], list[str]]:
    """The good records of a folder, sorted by id, and one line for every file that was refused.

    Raises:
        UserError: the folder does not exist, or has no record of a dataset that was asked for.
    """
    with _uncollected():
        good, refused = read_checked(record_files(results))
    found = sorted((record for _, record in good), key=lambda record: record.id)
    _require(results, datasets, {record.dataset: None for record in found})
    return [record for record in found if not datasets or record.dataset in datasets], refused


def record_files(results: Path) -> list[Path]:
    """The record files below a folder, sorted; hidden ones (half-written) are left out.

    Raises:
        UserError: no such folder.
    """
    if not results.is_dir():
        raise UserError(
            f"{results}: no such folder of records. Run `mtlbench bench` first, or name the folder that has them."
        )
    return sorted(
        path
        for path in results.rglob("*.json")
        if not path.name.startswith(".") and not path.name.endswith(epochs_on_test.SUFFIX)
    )


TOP_LEVEL = re.compile(rb'\n "dataset": "([^"\\]+)"')
"""A record's dataset as `mtlbench.records.write` writes it: found without reading all of the file."""

PIECE = 2500
"""Files that are read at a time: with more of them several processes read."""

UNKNOWN = ""
"""Stands for the dataset of files that do not say one; no dataset has that name."""


def _survey(results: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """File name relative to the folder → hash of its bytes and of what was found looking back on it; names by dataset.

    Which dataset a file is of is only looked up here. Whether its record is good is seen where it is drawn.
    """
    seen = set(results.rglob(f"*{epochs_on_test.SUFFIX}"))

    def look(piece: list[Path]) -> tuple[str, dict[str, Any]]:
        found = {}
        for path in piece:
            content = path.read_bytes()
            digest = hashlib.sha256(content)
            if seen and epochs_on_test.path_of(path) in seen:
                digest.update(epochs_on_test.path_of(path).read_bytes())
            found[path.relative_to(results).as_posix()] = digest.hexdigest(), _dataset(content)
        return str(piece[0]), found

    paths = record_files(results)
    pieces = [paths[start : start + PIECE] for start in range(0, len(paths), PIECE)]
    digests: dict[str, str] = {}
    groups: dict[str, list[str]] = defaultdict(list)
    for found in parallel.each(look, pieces).values():
        for name, (digest, dataset) in found.items():
            digests[name] = digest
            groups[dataset].append(name)
    return digests, dict(groups)


def _dataset(content: bytes) -> str:
    found = TOP_LEVEL.search(content)
    if found is not None:
        return found[1].decode("utf-8", "replace")
    try:
        return str(json.loads(content).get("dataset", UNKNOWN))
    except (ValueError, AttributeError):
        return UNKNOWN


def _states(out: Path) -> dict[str, dict[str, Any]]:
    """What earlier calls drew, by dataset; an unreadable state is as none."""
    fields = {"key", "outputs", "entry", "ranks", "summary", "refused"}
    found = {path.parent.name: _remembered(path) for path in sorted(out.glob(f"*/{STATE}"))}
    return {name: state for name, state in found.items() if fields <= set(state)}


def _require(results: Path, datasets: Sequence[str] | None, known: Any) -> None:
    for name in datasets or ():
        if name not in known:
            raise UserError(f"{results} has no record of dataset {name!r}.{did_you_mean(name, known)}")


@dataclass(frozen=True)
class _Job:
    """One dataset to draw: the names of its records, its reported rows, and the key of both."""

    dataset: str
    names: list[str]
    published: list[reported.Reported]
    key: str


def _draw(results: Path, out: Path, job: _Job, before: dict[str, Any] | None) -> dict[str, Any]:
    """Draw one dataset and remember what from. Files of an earlier drawing that are no longer made are removed."""
    good, refused = read_checked([results / name for name in job.names])
    found = [(path, record) for path, record in good if record.dataset == job.dataset]
    refused += [f"{path}: names two datasets" for path, record in good if record.dataset != job.dataset]
    folder = out / job.dataset
    state: dict[str, Any] = {"key": job.key, "refused": refused, "outputs": [], "entry": {}, "ranks": {}, "summary": {}}
    if found:
        (board,) = boards(record for _, record in found)
        links = {record.id: Path(os.path.relpath(path, folder)).as_posix() for path, record in found}
        seen = _looked_back(found, refused)
        state["outputs"] = [path.name for path in draw_board(board, folder, links, job.published, seen, refused)]
        state["entry"], state["summary"] = _entry(board), summary(board)
        state["ranks"] = {row.title: row.cells["rank/task"].mean for row in board.tables[0].rows if row.ranked}
    for name in set(before["outputs"] if before else ()) - set(state["outputs"]):
        (folder / name).unlink(missing_ok=True)
    if NAME.fullmatch(job.dataset):
        write_text(folder / STATE, site.dump(state))
    return state


def _looked_back(found: list[tuple[Path, Record]], refused: list[str]) -> dict[str, epochs_on_test.EpochsOnTest]:
    """Record id → its epochs on test; a file beside a record that is not fit is left out and named."""
    seen = {}
    for path, record in found:
        beside = epochs_on_test.path_of(path)
        if not beside.is_file():
            continue
        try:
            one = epochs_on_test.read(beside)
        except UserError as error:
            refused.append(str(error))
            continue
        first = next(epochs_on_test_problems(record, one), None)
        if first is None:
            seen[record.id] = one
        else:
            refused.append(f"{beside}: {first}")
    return seen


def _entry(board: Board) -> dict[str, Any]:
    """One line of the index."""
    table = board.tables[0]
    best = next((row for row in table.rows if row.ranked), table.rows[0])
    style = text.styles(table)[table.sort]
    return {
        "dataset": board.dataset,
        "best": best.title,
        "quality": f"{text.header(table.column(table.sort), style)} {style.cell(best.cells[table.sort])}",
        "methods": len({row.name for table in board.tables for row in table.rows}),
        "records": sum(len(row.records) for table in board.tables for row in table.rows),
        "protocols": len(board.tables),
    }


def _index(
    out: Path, states: dict[str, dict[str, Any]], refused: list[str], published: Sequence[reported.Reported]
) -> list[Path]:
    """The first page and what all pages share; the diagram over datasets is drawn when ranks changed."""
    ranks = {dataset: state["ranks"] for dataset, state in states.items()}
    key = hashlib.sha256(json.dumps([ranks, _code()], sort_keys=True).encode()).hexdigest()
    before = _remembered(out / STATE)
    names = before.get("outputs", [])
    if before.get("key") != key or not all((out / name).exists() for name in names):
        for name, content in site.assets().items():
            write_text(out / "assets" / name, content)
        diagram = critical.diagram(ranks, out / "critical_differences")
        names = [*(f"assets/{name}" for name in site.ASSETS), *(path.name for path in diagram)]
        write_text(out / STATE, site.dump({"key": key, "outputs": names}))
    diagram = [out / name for name in names if not name.startswith("assets/")]
    entries = [state["entry"] for state in states.values()]
    others = [row for row in published if row.fields["dataset"] in reported.OTHER_DATA]
    page, path = site.index(entries, refused, "critical_differences" if diagram else "", others), out / "index.html"
    if not path.exists() or path.read_text(encoding="utf-8") != page:
        write_text(path, page)
    return [path, *diagram]


def _remembered(path: Path) -> dict[str, Any]:
    """A state that an earlier call left; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _published(folder: Path) -> list[reported.Reported]:
    return reported.read(folder) if folder.is_dir() else []


def _key(place: str, digests: dict[str, str], published: list[reported.Reported]) -> str:
    """The hash of all that a dataset's files depend on."""
    numbers = [[row.file, row.line, row.fields, row.deltas] for row in published]
    what = json.dumps([place, sorted(digests.items()), numbers, _code()], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """The hash of the code that draws, and the versions of what it draws with."""
    package = Path(mtlbench.__file__).parent
    sources = [
        path
        for room in ("errors.py", "records", "statistics", "leaderboard")
        for path in sorted([package / room, *(package / room).rglob("*")])
        if path.suffix in (".py", ".html", ".css", ".js")
    ]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    for name in ("matplotlib", "itables", "jinja2"):
        digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()


def _load() -> None:
    """Import what every drawing needs, here and now: forked processes then have it."""
    for name in ("scipy.stats", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "jinja2"):
        importlib.import_module(name)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection while many records are read: all of them live, and looking for dead ones is half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
