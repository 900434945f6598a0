"""Errors a user can act on: one line that says what is wrong, where, what was expected, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what the user gave. The command line prints the message alone and exits with code 2."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint that names the nearest candidate, or lists them all when none is near; starts with a space."""
    known = sorted(candidates)
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(known)}." if known else ""
