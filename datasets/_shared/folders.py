"""Finding a dataset's folder, and what is said where files are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mtlbench.contract import Card, UserError


@dataclass(frozen=True)
class Folders:
    """Where a dataset may lie: the folder that the user named may hold all datasets, or be this one.

    Attributes:
        name: the plugin's name, also that of its own folder.
        card: whose tree and way to obtain the files are shown in errors.
        root: the folder that the user named; None for `data`.
    """

    name: str
    card: Card
    root: Path | None

    @property
    def candidates(self) -> tuple[Path, Path]:
        """Where to look, in this order."""
        given = Path("data") if self.root is None else self.root
        return given, given / self.name

    def find(self, layouts: Mapping[str, str], wanted: str = "auto") -> tuple[Path | None, str]:
        """The folder that holds a layout, and which layout; without data None and the layout that was asked for.

        Args:
            layouts: layout → a path within the folder that only this layout has; the first layout that is found counts.
            wanted: the only layout to look for, or "auto" for all of them.
        """
        names = list(layouts) if wanted == "auto" else [wanted]
        for folder in self.candidates:
            for name in names:
                if (folder / layouts[name]).exists():
                    return folder, name
        return None, names[0]

    def not_found(self, layout: str = "auto") -> UserError:
        """The error to raise when there are no files: where they were looked for, the tree, how to get them."""
        looked = " and ".join(str(folder.absolute()) for folder in self.candidates)
        return UserError(
            f"{self.name} was not found{'' if layout == 'auto' else f' in the {layout} layout'}: looked in {looked}. "
            f"Name the folder with --data (make: DATA=…).\nExpected:\n{self.card.tree}\n{self.card.obtain}"
        )

    def missing(self, path: Path, purpose: str = "") -> UserError:
        """The error to raise when one file or folder is missing; `purpose` says what it is for."""
        why = f" ({purpose})" if purpose else ""
        return UserError(f"{self.name}: {path} is missing{why}. Expected:\n{self.card.tree}\n{self.card.obtain}")

    def require(self, folder: Path, *relative: str) -> None:
        """Raise `missing` for the first path below `folder` that does not exist."""
        for name in relative:
            if not (folder / name).exists():
                raise self.missing(folder / name)


def existing(paths: Iterable[Path]) -> list[Path]:
    """The paths that exist, each once, in order."""
    return [path for path in dict.fromkeys(paths) if path.exists()]


def numbers(folder: Path, ending: str) -> list[int]:
    """The numbers that name files of a folder, ascending; files with other names are left alone."""
    stems = [path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")]
    return sorted(int(stem) for stem in stems if stem.isdecimal())
