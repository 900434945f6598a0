"""What all figures share: colours, fonts, and files that are the same to the byte for the same records."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.leaderboard.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#A5AA99", "#B8860B", "#444444")
"""Okabe and Ito's palette, told apart with any colour vision, and some more."""

MARKERS = "osD^vPXhd<>p"
MOST = 12
"""Rows that one figure tells apart. Where points or curves are drawn the others are grey, elsewhere a line says how many
are in the table only."""

GREY = "#999999"

BREAK = (math.nan, math.nan)
"""A point at which a line is interrupted: many lines of one look are drawn fastest as one."""

_RC: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mtlbench",
}


@contextmanager
def canvas(width: float, height: float, layout: str | None = "constrained") -> Iterator[Figure]:
    """A figure of that many inches, drawn and to be saved under the project's settings."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        yield Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg` without dates or versions in them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = io.BytesIO(), io.BytesIO()
    # Laid out once for both formats, and printed by the canvases themselves: `savefig` draws everything twice as often.
    agg: Any = FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    # Level 3 takes half the time of the default and a twentieth more space.
    agg.print_png(png, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    vector: Any = FigureCanvasSVG(figure)
    vector.print_svg(svg, metadata={"Date": None, "Creator": None})
    written = []
    for suffix, buffer in ((".png", png), (".svg", svg)):
        path = stem.with_name(stem.name + suffix)
        path.write_bytes(buffer.getvalue())
        written.append(path)
    return written


def band(axes: Any, table: Table) -> None:
    """The line of the single-task reference and the band of its own noise, in a picture of Δ task."""
    if table.sort != "delta/task":
        return
    axes.axhline(0, color="#666666", linewidth=0.8)
    half = table.band.get("task", math.nan)
    if math.isfinite(half):
        axes.axhspan(-half, half, color="#000000", alpha=0.06, linewidth=0, label="reference ± its noise")


def look(table: Table) -> dict[str, tuple[str, str]]:
    """Row key → (colour, marker): the first rows of the table, in the order of their names so that ranks do not recolour."""
    shown = sorted(first(table), key=lambda row: (row.title, row.key))
    return {row.key: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, row in enumerate(shown)}


def first(table: Table) -> list[Row]:
    """The rows that a figure tells apart: the first of the table, the reference among them."""
    rows = table.rows[:MOST]
    reference = table.reference
    return rows if reference is None or reference in rows else [*rows[: MOST - 1], reference]


def literal(text: str) -> str:
    """Any text as matplotlib shows it letter by letter: no formula, no line or control character of its own.

    Everything that comes from a record (names of methods, tasks, metrics, units, datasets) passes through here.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    # Legends leave out what begins with an underscore.
    return (" " + shown if shown.startswith("_") else shown).replace("$", r"\$")


def clip(title: str, length: int = 34) -> str:
    """A title short enough for a legend, taken literally."""
    return literal(title if len(title) <= length else title[: length - 1] + "…")


def more(shown: int, of: int) -> str:
    """What a figure says of rows that it does not show; nothing where it shows all."""
    left = of - shown
    return f"{left} more {'row' if left == 1 else 'rows'} in the table" if left > 0 else ""


def titled(title: str, shown: int, of: int) -> str:
    """A title, and what `more` has to add to it."""
    return "; ".join(part for part in (title, more(shown, of)) if part)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats on both: low x, high y; in order of x."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front
