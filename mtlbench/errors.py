"""Errors a user can act on: one line that says what is wrong, where, what was expected, and what to do."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what the user gave. The command line prints the message alone and exits with code 2.

    What the message quotes may hold anything: line breaks become spaces, and characters that cannot be printed are escaped.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(str(message).split("\n")).strip()
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line))


def shown(value: object, length: int = 80) -> str:
    """A value as an error message quotes it: as Python code, shortened."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = length
    try:
        text = short.repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= length else f"{text[: length - 1]}…"


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint that names the nearest candidate, or lists them all when none is near; starts with a space."""
    known = sorted(candidates)
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(known)}." if known else ""
