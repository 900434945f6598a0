"""Figures and their files, which are the same to the byte for the same records."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mtlbench.leaderboard.plot_style import SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Iterator[Figure]:
    """A figure of that many inches, drawn and to be saved under the project's settings."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        yield Figure(figsize=(width, height), layout=layout)


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg` without dates or versions in them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = io.BytesIO(), io.BytesIO()
    # Laid out once for both formats, and printed by the canvases themselves: `savefig` draws everything twice as often.
    raster = FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    # Level 3 takes half the time of the default and a twentieth more space.
    raster.print_png(png, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    vector = FigureCanvasSVG(figure)
    vector.print_svg(svg, metadata={"Date": None, "Creator": None})
    written = []
    for suffix, buffer in ((".png", png), (".svg", svg)):
        path = stem.with_name(stem.name + suffix)
        path.write_bytes(buffer.getvalue())
        written.append(path)
    return written
