"""Text in figures: as it stands in the records, short enough, and honest about what a figure leaves out."""

from __future__ import annotations


def literal(text: str) -> str:
    """Any text as matplotlib shows it letter by letter: no formula, no line or control character of its own.

    Everything that comes from a record (names of methods, tasks, metrics, units, datasets) passes through here.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    # Legends leave out what begins with an underscore.
    return (" " + printable if printable.startswith("_") else printable).replace("$", r"\$")


def shortened(title: str, length: int = 34) -> str:
    """A title short enough for a legend, as literal text."""
    return literal(title if len(title) <= length else title[: length - 1] + "…")


def rows_left_out(shown: int, of: int) -> str:
    """The sentence on rows that a figure does not show; empty where it shows all."""
    left = of - shown
    return f"{left} more {'row' if left == 1 else 'rows'} in the table" if left > 0 else ""


def title_of_rows(title: str, shown: int, of: int) -> str:
    """A title with the sentence of `rows_left_out`."""
    return "; ".join(part for part in (title, rows_left_out(shown, of)) if part)
