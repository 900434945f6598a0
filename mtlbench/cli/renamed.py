"""Options under a name that they had before: still understood for one release, not listed, and the new name is said once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class RenamedOption(argparse.Action):
    """Appends to the new option's values: `parser.add_argument("--old", action=RenamedOption, dest="new_values")`.

    Args:
        dest: where the new option keeps its values; the option's name follows from it.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, **{**kwargs, "help": argparse.SUPPRESS, "default": []})
        self._is_said = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if not self._is_said:
            new_name = f"--{self.dest.replace('_', '-')}"
            print(f"mtlbench: {option_string} is now {new_name}; the old name goes with the next release.", file=sys.stderr)
            self._is_said = True
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])
