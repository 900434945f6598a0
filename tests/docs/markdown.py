"""Code blocks of Markdown files, and the markers that exclude one from being executed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = re.compile(r"<!-- not executed: (?P<reason>\S.*?) -->")
"""An HTML comment right before a block that is not executed, with the reason."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*) *$")


@dataclass(frozen=True)
class Block:
    """One fenced code block.

    Attributes:
        file: the Markdown file.
        line: number of its first line.
        language: as said after the fence; "" where nothing is said.
        text: the content.
        excluded: the reason not to execute it; empty: it is executed.
    """

    file: Path
    line: int
    language: str
    text: str
    excluded: str = ""

    @property
    def place(self) -> str:
        """Where it stands, for messages and test names."""
        return f"{self.file.name}:{self.line}"

    @property
    def path(self) -> str:
        """The file that the first line of a Python block names (`# folder/name.py`); empty where it names none."""
        found = re.match(r"# (?P<path>[\w/]+\.py)\n", self.text)
        return found["path"] if found else ""

    def commands(self) -> list[list[str]]:
        """The commands of a shell block, as words: comments removed, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(file: Path) -> list[Block]:
    """All fenced blocks of a file, in order."""
    return list(_blocks(file, file.read_text(encoding="utf-8").splitlines()))


def _blocks(file: Path, lines: list[str]) -> Iterator[Block]:
    opened: tuple[int, str, str, str] | None = None
    content: list[str] = []
    marker = ""
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if opened is not None:
            first, indent, language, reason = opened
            if fence and not fence["language"]:
                yield Block(file, first, language, "\n".join(content) + "\n", reason)
                opened, content = None, []
            else:
                content.append(line.removeprefix(indent))
        elif fence:
            opened = number + 1, fence["indent"], fence["language"], marker
            marker = ""
        elif line.strip():
            found = MARKER.search(line)
            marker = found["reason"] if found else ""
    if opened is not None:
        raise ValueError(f"{file}: the block that starts at line {opened[0]} has no end")
