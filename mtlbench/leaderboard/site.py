"""A static page per dataset and an index: sorted, filtered and searched in the browser, from disk, without a network.

The tables are DataTables, shipped with the page from the `itables` package. Without scripts they are plain tables. All
text is escaped by the template engine.
"""

from __future__ import annotations

import base64
import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mtlbench.leaderboard import number_format, protocols, reported
from mtlbench.leaderboard.board import Board
from mtlbench.leaderboard.columns import Column
from mtlbench.leaderboard.drawn_state import IndexEntry
from mtlbench.leaderboard.number_format import NumberFormat
from mtlbench.leaderboard.selection_bias import BiasTable
from mtlbench.leaderboard.table import Row, Table
from mtlbench.leaderboard.table_notes import band_note

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = ("site.css", "site.js", "datatables.css", "datatables.js")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["plain"] = protocols.as_text
    environment.filters["quoted"] = quote
    return environment


def assets() -> dict[str, str]:
    """Name → content of the files that all pages share."""
    spec = importlib.util.find_spec("itables")
    assert spec is not None and spec.submodule_search_locations
    # Only its files are needed; importing it would load pandas.
    folder = Path(spec.submodule_search_locations[0]) / "html"
    # A module cannot be imported from a file next to a page on disk, so it travels as text inside a plain script.
    script = base64.b64encode((folder / "dt_bundle.js").read_bytes()).decode("ascii")
    return {
        "site.css": (TEMPLATES / "site.css").read_text(encoding="utf-8"),
        "site.js": (TEMPLATES / "site.js").read_text(encoding="utf-8"),
        "datatables.css": (folder / "dt_bundle.css").read_text(encoding="utf-8"),
        "datatables.js": f'"use strict";\nwindow.datatablesSource = "{script}";\n',
    }


def page(
    board: Board,
    figures: Mapping[str, Sequence[tuple[str, str]]],
    links: Mapping[str, str],
    published: Sequence[reported.Reported],
    bias: Sequence[BiasTable] = (),
) -> str:
    """The page of one dataset.

    Args:
        figures: protocol id → (file name without suffix, caption).
        links: record id → address of its file, relative to the page.
        published: reported rows of this dataset, shown in a section of their own.
        bias: test-set selection bias, in another.
    """
    html = _environment().get_template("dataset.html").render(
        board=board,
        tables=[_view(table, links, [stem for stem, _ in figures.get(table.protocol_id, ())]) for table in board.tables],
        figures=figures,
        published=_published(published),
        differs=board.differs,
        bias=bias,
    )  # fmt: skip
    return str(html)


def index(
    entries: Sequence[IndexEntry],
    refused: Sequence[str],
    diagram: str,
    published: Sequence[reported.Reported] = (),
) -> str:
    """The first page: one line per dataset.

    Args:
        refused: one line per record that was left out, with the reason.
        diagram: name of the critical-difference picture, empty without one.
        published: reported rows of data that has no page of its own.
    """
    html = _environment().get_template("index.html").render(
        entries=entries, refused=refused, diagram=diagram, published=_published(published)
    )  # fmt: skip
    return str(html)


def _view(table: Table, links: Mapping[str, str], stems: Sequence[str]) -> dict[str, object]:
    """One table for the template: text for people, numbers for sorting."""
    forms = number_format.number_formats(table)
    columns = [column for column in number_format.filled(table, table.columns) if column.key != "rank/task"]
    shown = {column.key for column in number_format.overview(table)}
    return {
        "id": table.protocol_id,
        "columns": [_heading(column, forms[column.key], column.key in shown) for column in columns],
        "rows": [
            {**_row(table, row, columns, forms, links), "pictures": _pictures(table, number, stems)}
            for number, row in enumerate(table.rows)
        ],
        "notes": [*table.notes, *band_note(table)],
        "card": sorted(protocols.flatten(table.protocol).items()),
        "provenance": _provenance(table),
    }


def _heading(column: Column, form: NumberFormat, shown: bool) -> dict[str, object]:
    task = column.group if column.section == "task metrics" and column.group != "skill" else ""
    help = column.help or (f"{task}: {column.title}" if task else column.title)
    return {
        "task": task,
        "title": number_format.header(column, form),
        "help": help,
        "shown": shown,
        "section": column.section,
    }


def _row(
    table: Table, row: Row, columns: Sequence[Column], forms: Mapping[str, NumberFormat], links: Mapping[str, str]
) -> dict[str, object]:
    place = row.cells["rank/task"].mean if row.ranked else math.inf
    return {
        "name": row.name,
        "settings": row.settings,
        "reference": row.reference,
        "rank": {"text": number_format.rank_text(table, row), "order": _order(place, -1)},
        "cells": [_cell(row, column, forms[column.key]) for column in columns],
        "records": [
            {"seed": record.seed, "id": record.id, "href": quote(links.get(record.id, ""))} for record in row.records
        ],
        "selection": row.selection,
    }


PICTURES = (
    ("plan", "plans"),
    ("curves", "training"),
    ("robustness", "robustness"),
    ("policy", "policy"),
    ("merge tree", "merge_tree"),
    ("gradients", "diagnostics"),
)
"""Names of a row's links, and how the names of the pictures begin that they lead to."""


def _pictures(table: Table, number: int, stems: Sequence[str]) -> list[tuple[str, str]]:
    """Names and anchors of the pictures that show the row of that number: common ones, and its own."""
    common, own = f"-{table.protocol_id}", f"-{number}-{table.protocol_id}"
    links = []
    for name, kind in PICTURES:
        of_kind = [stem for stem in stems if stem == kind + common or (stem.startswith(f"{kind}-") and stem.endswith(own))]
        links += [(name, stem) for stem in of_kind]
    return links


def _cell(row: Row, column: Column, form: NumberFormat) -> dict[str, str]:
    cell = row.cells.get(column.key)
    number = cell.mean if cell else math.nan
    return {"text": form.cell(cell), "order": _order(number, column.better), "mark": cell.mark if cell else ""}


def _order(number: float, better: int) -> str:
    """The number that sorts a cell; one without a number is last where good ones are first."""
    if math.isfinite(number):
        return repr(float(number))
    return "1e300" if better < 0 else "-1e300"


def _provenance(table: Table) -> list[tuple[str, str]]:
    """Versions and machines of the records: shown with the protocol, no part of it."""
    values_of: dict[str, set[str]] = {}
    for row in table.rows:
        for record in row.records:
            source = record.provenance
            for name, value in {"mtlbench": source.mtlbench, **source.versions, **source.machine}.items():
                values_of.setdefault(name, set()).add(protocols.as_text(value))
    return [(name, " / ".join(sorted(values))) for name, values in sorted(values_of.items())]


def _published(rows: Sequence[reported.Reported]) -> list[dict[str, object]]:
    """Published rows by table and source, each with its Δ recomputed and its rank under each definition."""
    places = reported.ranks(rows)
    shared = ("dataset", "source", "protocol", "status")
    groups: dict[tuple[str, ...], list[reported.Reported]] = {}
    for row in rows:
        groups.setdefault((*row.group, *(row.fields[key] for key in shared)), []).append(row)
    views = []
    for group in groups.values():
        pairs = list(dict.fromkeys(pair for row in group for pair in row.cells))
        lines = []
        for row in group:
            place = places.get(id(row), {})
            lines.append(
                {
                    "method": row.method if row.fields["role"] != "stderr" else f"{row.method}, standard error",
                    "cells": [row.cells.get(pair, "") for pair in pairs],
                    "delta": row.fields["delta"],
                    "recomputed": [
                        f"{row.deltas[name]:.2f}" if row.deltas else "" for name in ("task", "metric", "primary")
                    ],
                    "ranks": " / ".join(str(place[name]) for name in ("task", "metric", "primary")) if place else "",
                    "defects": row.fields["defects"],
                }
            )
        fields = group[0].fields
        views.append({"pairs": pairs, "lines": lines, **{key: fields[key] for key in shared}})
    return views
