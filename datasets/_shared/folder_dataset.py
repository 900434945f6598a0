"""Bases of the datasets that are read from a folder of the user's files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from mtlbench.contract import Dataset, Key, Sample
from mtlbench.tasks import Task

from .folders import Folders, existing


class FolderDataset(Dataset):
    """A dataset whose raw files lie in a folder that the user names.

    A subclass sets `_tasks` and `_image_size` when it is made, and says where its files are.

    Attributes:
        name: the plugin's name, also that of the dataset's own folder.
        layout: how the files are laid out, "auto" to look; datasets with several layouts have an option of this name.
        folders: where the files may lie, and the errors where they do not.
    """

    name: ClassVar[str]
    layout: str = "auto"
    _tasks: tuple[Task, ...]
    _image_size: tuple[int, int]

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self.folders = Folders(self.name, self.card, root)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks asked for."""
        return self._tasks

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of prepared images."""
        return self._image_size

    def files(self) -> Sequence[Path]:
        """All raw files that exist: the lists, then those of every sample, each once."""
        keys = all_keys(self.index())
        return existing([*self.list_files(), *(path for key in keys for path in self.sample_files(key))])

    def list_files(self) -> Sequence[Path]:
        """Files that name samples or describe them, and belong to no single one."""
        return ()

    @abstractmethod
    def sample_files(self, key: Key) -> Iterable[Path]:
        """The files that `load` reads for a sample."""

    @cached_property
    def folder(self) -> Path:
        """The folder that holds the files.

        Raises:
            UserError: there is none: where it was looked for, the expected tree, how to get the files.
        """
        folder = self.find_folder()
        if folder is None:
            raise self.folders.not_found(self.layout)
        return folder

    @abstractmethod
    def find_folder(self) -> Path | None:
        """The first candidate that holds the dataset; None where none does."""


class Layout(Protocol):
    """One way in which the files of a dataset are laid out and encoded."""

    def index(self) -> dict[str, Sequence[Key]]:
        """Keys by split, as `Dataset.index`."""
        ...

    def load(self, key: Key) -> Sample:
        """Image and the targets that the files hold, as `Dataset.load`; targets that are not asked for may be among them."""
        ...

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The files of a sample."""
        ...

    def scene(self, key: Key) -> str | None:
        """The sample's scene, as `Dataset.scene`."""
        ...


def chosen_tasks(available: Iterable[Task], names: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of those names, in the order of the names, each once."""
    by_name = {task.name: task for task in available}
    return tuple(by_name[name] for name in dict.fromkeys(names))


def all_keys(index: Mapping[str, Sequence[Key]]) -> Iterator[Key]:
    """The keys of all splits, one after another."""
    for keys in index.values():
        yield from keys
