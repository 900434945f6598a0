"""What was drawn before, and from what: a dataset whose records and drawing code did not change is left as it is.

Beside each dataset's files, and beside the first page, stands a hidden file with the key of everything they were drawn
from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

import mtlbench
from mtlbench.leaderboard.reported import Reported
from mtlbench.leaderboard.terminal import BoardSummary
from mtlbench.records import write_text

FILE = ".drawn.json"

ROOMS = ("errors.py", "records", "statistics", "leaderboard")
"""Everything of the package that a drawing can depend on, complete: no list of single files that could lack one."""

LIBRARIES = ("matplotlib", "seaborn", "pandas", "itables", "jinja2")


class IndexEntry(BaseModel):
    """A dataset's line on the first page.

    Attributes:
        best: the row that leads the ranking; `quality`: its Δ or skill, with heading.
        methods, records, protocols: how many there are.
    """

    dataset: str
    best: str
    quality: str
    methods: int
    records: int
    protocols: int


class State(BaseModel):
    """What a call drew into a folder.

    Attributes:
        key: hash of everything that was drawn from.
        outputs: names of the files, relative to the folder.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    outputs: list[str]


class BoardState(State):
    """What was drawn of a dataset, and what other pages say of it, so that its records need not be read for them.

    Attributes:
        refused: one line per record that was left out.
        entry, summary: for the first page and for the terminal; None where no record was good.
        ranks: row → rank by Δ.
    """

    refused: list[str] = []
    entry: IndexEntry | None = None
    summary: BoardSummary | None = None
    ranks: dict[str, float] = {}


_State = TypeVar("_State", bound=State)


def read_state(folder: Path, kind: type[_State]) -> _State | None:
    """The state that an earlier call left in a folder; None where there is none that can be read."""
    try:
        return kind.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_state(folder: Path, state: State) -> None:
    """Leave a state for later calls."""
    write_text(folder / FILE, json.dumps(state.model_dump(), sort_keys=True, indent=1) + "\n")


def is_up_to_date(folder: Path, state: State | None, key: str) -> bool:
    """Whether the files of a state are there and would be the same if drawn again."""
    return state is not None and state.key == key and all((folder / name).exists() for name in state.outputs)


def board_key(place: str, digests: dict[str, str], published: Sequence[Reported]) -> str:
    """The hash of all that a dataset's files depend on.

    Args:
        place: of the records as seen from the leaderboards: links lead there.
        digests: file name → hash of its content.
        published: the dataset's reported rows.
    """
    numbers = [[row.file, row.line, row.fields, row.deltas] for row in published]
    return key_of([place, sorted(digests.items()), numbers])


def key_of(values: object) -> str:
    """The hash of some values (JSON) and of the code that draws them."""
    text = json.dumps([values, drawing_code()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def drawing_code() -> str:
    """The hash of the code that draws, and the versions of what it draws with."""
    digest = hashlib.sha256(code_hash(Path(mtlbench.__file__).parent).encode())
    for name in LIBRARIES:
        digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()


def code_hash(package: Path) -> str:
    """The hash of the names and contents of all sources that a drawing can depend on.

    Args:
        package: the folder of the package `mtlbench`.
    """
    sources = [
        path
        for room in ROOMS
        for path in sorted([package / room, *(package / room).rglob("*")])
        if path.suffix in (".py", ".html", ".css", ".js")
    ]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
