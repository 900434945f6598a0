"""One classification task a domain, each with images of its own, from a folder a domain (as DomainNet is laid out)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mtlbench.contract.dataset import Augmentation, BadSample, Card, Dataset, Key, Sample
from mtlbench.contract.hyper import Hyper
from mtlbench.datasets._files import read_image, shrunk
from mtlbench.datasets._folders import Folders, existing
from mtlbench.errors import UserError, did_you_mean
from mtlbench.tasks import Classification
from mtlbench.tasks.base import Task

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VAL_EVERY = 7
"""Every seventh training image of a class is val's."""
TEST_EVERY = 5
"""Without official lists, every fifth image of a class is test's."""

TREE = """\
domains/
    DOMAIN/CLASS/*.jpg                          (or .jpeg, .png, .bmp, .webp)
    DOMAIN_train.txt  DOMAIN_test.txt           (if there, for every domain: lines "DOMAIN/CLASS/FILE NUMBER")"""


class Domains(Dataset):
    """Multi-input data: every domain (clipart, photographs, sketches, …) is a classification task on its own images.

    As AdaShare evaluates on DomainNet (Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019,
    arXiv:1812.01754).
    """

    domains: tuple[str, ...] = Hyper((), help="the domains' folders, in order; empty takes all, in alphabetical order")
    size: int = Hyper(224, help="side of prepared images: the middle square, resized", check="32 <= v <= 512")

    card: ClassVar[Card] = Card(
        title="Domains (a folder a domain, such as DomainNet, 2019)",
        summary="Any images in folders DOMAIN/CLASS. Every domain is a classification task with images of its own, and all "
        "tasks have the same classes.",
        source="for DomainNet: Peng, Bai, Xia, Huang, Saenko and Wang, Moment Matching for Multi-Source Domain Adaptation, "
        "ICCV 2019; http://ai.bu.edu/M3SDA/",
        licence="that of the images; for DomainNet see its page (fair use for research)",
        obtain="For DomainNet: download the domains and their _train.txt and _test.txt lists from http://ai.bu.edu/M3SDA/ "
        "and unpack them into one folder. Any other folder of domains works the same way. "
        "Without any download: the dataset multidomain.",
        tree=TREE,
        defects=(
            "Images are the middle square of the files, resized once; published protocols crop at random in training.",
            "DomainNet has no official val: val is cut from train here; AdaShare's lists use the test file for both.",
            "Without lists the split is a rule on file names: near-duplicates may be parted.",
        ),
    )
    thread_safe: ClassVar[bool] = True
    multi_input: ClassVar[bool] = True
    augmentation: ClassVar[Augmentation] = Augmentation(zooms=(1.0, 1.15, 1.3), flip=True)
    defaults: ClassVar[Mapping[str, Any]] = {"output_stride": 32, "batch_size": 32}

    def __init__(self, root: Path | None, options: Mapping[str, Any]) -> None:
        super().__init__(root, options)
        self._folders = Folders("domains", self.card, root)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """One classification a domain."""
        return tuple(Classification(domain, channels=len(self._classes)) for domain in self._names)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.size, self.size

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (domain, class, file name); the domains one after another."""
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for domain in self._names:
            train, test = self._listed(domain) if self._lists else self._parted(domain)
            seen: dict[str, int] = {}
            for key in train:
                seen[key[1]] = seen.get(key[1], 0) + 1
                splits["val" if seen[key[1]] % VAL_EVERY == 0 else "train"].append(key)
            splits["test"] += test
        return splits

    def load(self, key: Key) -> Sample:
        """One image, and the label of its domain's task."""
        if not isinstance(key, tuple) or len(key) != 3 or key[0] not in self._names or key[1] not in self._classes:
            raise BadSample(f"domains has no sample {key!r}: expected (domain, class, file name)")
        picture = read_image(self._path(key))
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.convert("RGB").crop((left, top, left + side, top + side))
        return {
            "image": shrunk(square, self.size, self.size),
            str(key[0]): np.asarray(self._classes.index(str(key[1])), np.int16),
        }

    def files(self) -> Sequence[Path]:
        """The lists, where they are used, and all images that exist."""
        images = [self._path(key) for keys in self.index().values() for key in keys if isinstance(key, tuple)]
        return existing([*self._lists, *images])

    def split_rule(self) -> str:
        """How val was cut."""
        rule = f"val: every {VAL_EVERY}th training image of a class and domain, in order"
        if self._lists:
            return f"{rule}; test: the official lists"
        return f"{rule}; test: every {TEST_EVERY}th image of a class and domain, by file name"

    def describe(self) -> dict[str, Any]:
        """The options, and which domains and classes were found."""
        return super().describe() | {"domains": list(self._names), "classes": list(self._classes)}

    # Finding files

    @cached_property
    def _root(self) -> Path:
        """The folder that holds the domains: the last candidate that has images two folders below it."""
        for folder in reversed(self._folders.candidates):
            if folder.is_dir() and any(_classes_of(domain) for domain in folder.iterdir() if domain.is_dir()):
                return folder
        raise self._folders.not_found()

    @cached_property
    def _names(self) -> tuple[str, ...]:
        found = sorted(path.name for path in self._root.iterdir() if path.is_dir() and _classes_of(path))
        for name in self.domains:
            if name not in found:
                raise UserError(
                    f"domains: there is no folder {name!r} with images in {self._root}.{did_you_mean(name, found)}"
                )
        return tuple(dict.fromkeys(self.domains)) or tuple(found)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """The classes of all domains together, in alphabetical order."""
        return tuple(sorted({name for domain in self._names for name in _classes_of(self._root / domain)}))

    @cached_property
    def _lists(self) -> tuple[Path, ...]:
        """The official lists; none unless they are there for every domain.

        Raises:
            UserError: some are there and some are not.
        """
        paths = tuple(self._root / f"{domain}_{part}.txt" for domain in self._names for part in ("train", "test"))
        there = [path for path in paths if path.exists()]
        if there and len(there) < len(paths):
            lost = next(path for path in paths if path not in there)
            raise self._folders.missing(lost, f"{there[0].name} is there: either all domains have lists, or none")
        return paths if there else ()

    def _path(self, key: tuple[Any, ...]) -> Path:
        return self._root.joinpath(*map(str, key))

    def _listed(self, domain: str) -> list[list[tuple[str, str, str]]]:
        """Training and test keys, from the official lists."""
        parts = []
        for part in ("train", "test"):
            path = self._root / f"{domain}_{part}.txt"
            keys = []
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if not line.strip():
                    continue
                words = tuple(line.rsplit(maxsplit=1)[0].split("/"))
                if len(words) != 3 or words[0] != domain or words[1] not in self._classes:
                    raise UserError(f"domains: line {number} of {path} is {line!r}, expected {domain}/CLASS/FILE NUMBER.")
                keys.append((words[0], words[1], words[2]))
            parts.append(keys)
        return parts

    def _parted(self, domain: str) -> list[list[tuple[str, str, str]]]:
        """Training and test keys, by the rule."""
        train: list[tuple[str, str, str]] = []
        test: list[tuple[str, str, str]] = []
        for name in _classes_of(self._root / domain):
            for number, path in enumerate(_images(self._root / domain / name), 1):
                (train if number % TEST_EVERY else test).append((domain, name, path.name))
        return [train, test]


def _classes_of(domain: Path) -> list[str]:
    """The folders of a domain that hold images, in alphabetical order."""
    return sorted(path.name for path in domain.iterdir() if path.is_dir() and any(map(_is_image, path.iterdir())))


def _images(folder: Path) -> list[Path]:
    return sorted(filter(_is_image, folder.iterdir()))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS
