"""One classification task per domain, each with images of its own, from one folder per domain (the layout of DomainNet)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mtlbench.contract import Augmentation, BadSample, Card, Hyper, Key, Sample, UserError, did_you_mean
from mtlbench.tasks import Classification, Task

from ._shared.folder_dataset import FolderDataset
from ._shared.reading import middle_square, read_image, resize_by_area

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VAL_EVERY = 7
"""Every seventh training image of a class is val's."""
TEST_EVERY = 5
"""Without official lists, every fifth image of a class is test's."""

TREE = """\
domains/
    DOMAIN/CLASS/*.jpg                          (or .jpeg, .png, .bmp, .webp)
    DOMAIN_train.txt  DOMAIN_test.txt           (if there, for every domain: lines "DOMAIN/CLASS/FILE NUMBER")"""


class Domains(FolderDataset):
    """Multi-input data: every domain (clipart, photographs, sketches, …) is a classification task on its own images.

    As AdaShare evaluates on DomainNet (Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019,
    arXiv:1812.01754).
    """

    domains: tuple[str, ...] = Hyper((), help="the domains' folders, in order; empty takes all, in alphabetical order")
    size: int = Hyper(224, ge=32, le=512, help="side of prepared images: the middle square, resized")

    name: ClassVar[str] = "domains"
    card: ClassVar[Card] = Card(
        title="Domains (one folder per domain, such as DomainNet, 2019)",
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

    @property
    def tasks(self) -> tuple[Task, ...]:
        """One classification per domain."""
        return tuple(Classification(domain, channels=len(self._classes)) for domain in self._names)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of prepared images."""
        return self.size, self.size

    def index(self) -> Mapping[str, Sequence[Key]]:
        """Keys (domain, class, file name); the domains one after another."""
        splits: dict[str, list[Key]] = {"train": [], "val": [], "test": []}
        for domain in self._names:
            train, test = self._listed(domain) if self._lists else self._cut(domain)
            seen: dict[str, int] = {}
            for key in train:
                seen[key[1]] = seen.get(key[1], 0) + 1
                splits["val" if seen[key[1]] % VAL_EVERY == 0 else "train"].append(key)
            splits["test"] += test
        return splits

    def load(self, key: Key) -> Sample:
        """One image, and the label of its domain's task."""
        domain, class_name, _ = self._checked(key)
        image = middle_square(read_image(self._path(key)).convert("RGB"))
        return {
            "image": resize_by_area(image, self.size, self.size),
            domain: np.asarray(self._classes.index(class_name), np.int16),
        }

    def list_files(self) -> Sequence[Path]:
        """The official lists, where they are used."""
        return self._lists

    def sample_files(self, key: Key) -> Iterable[Path]:
        """The image."""
        return [self._path(key)]

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

    def find_folder(self) -> Path | None:
        """The last candidate that has images two folders below it."""
        for folder in reversed(self.folders.candidates):
            if folder.is_dir() and any(_classes_of(domain) for domain in folder.iterdir() if domain.is_dir()):
                return folder
        return None

    @cached_property
    def _names(self) -> tuple[str, ...]:
        there = sorted(path.name for path in self.folder.iterdir() if path.is_dir() and _classes_of(path))
        for name in self.domains:
            if name not in there:
                raise UserError(
                    f"domains: there is no folder {name!r} with images in {self.folder}.{did_you_mean(name, there)}"
                )
        return tuple(dict.fromkeys(self.domains)) or tuple(there)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """The classes of all domains together, in alphabetical order."""
        return tuple(sorted({name for domain in self._names for name in _classes_of(self.folder / domain)}))

    @cached_property
    def _lists(self) -> tuple[Path, ...]:
        """The official lists; none unless they are there for every domain.

        Raises:
            UserError: some are there and some are not.
        """
        paths = tuple(self.folder / f"{domain}_{part}.txt" for domain in self._names for part in ("train", "test"))
        there = [path for path in paths if path.exists()]
        if there and len(there) < len(paths):
            lost = next(path for path in paths if path not in there)
            raise self.folders.missing(lost, f"{there[0].name} is there: either all domains have lists, or none")
        return paths if there else ()

    def _path(self, key: Key) -> Path:
        return self.folder.joinpath(*self._checked(key))

    def _checked(self, key: Key) -> tuple[str, str, str]:
        match key:
            case (str(domain), str(class_name), str(file)) if domain in self._names and class_name in self._classes:
                return domain, class_name, file
        raise BadSample(f"domains has no sample {key!r}: expected (domain, class, file name)")

    def _listed(self, domain: str) -> list[list[tuple[str, str, str]]]:
        """Training and test keys, from the official lists."""
        parts = []
        for part in ("train", "test"):
            path = self.folder / f"{domain}_{part}.txt"
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

    def _cut(self, domain: str) -> list[list[tuple[str, str, str]]]:
        """Training and test keys, by the rule."""
        train: list[tuple[str, str, str]] = []
        test: list[tuple[str, str, str]] = []
        for name in _classes_of(self.folder / domain):
            for number, path in enumerate(_images(self.folder / domain / name), 1):
                (train if number % TEST_EVERY else test).append((domain, name, path.name))
        return [train, test]


def _classes_of(domain: Path) -> list[str]:
    """The folders of a domain that hold images, in alphabetical order."""
    return sorted(path.name for path in domain.iterdir() if path.is_dir() and any(map(_is_image, path.iterdir())))


def _images(folder: Path) -> list[Path]:
    return sorted(filter(_is_image, folder.iterdir()))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS
