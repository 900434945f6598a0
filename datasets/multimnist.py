"""Two digits (or pieces of clothing) on one canvas, composed from MNIST and FashionMNIST in torchvision's layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torchvision import datasets as torchvision_datasets

from mtlbench.contract import Card, Download, Hyper, UserError

from ._shared.published_pairs import Interpolation, Pairing, PublishedPairs, draw_pairs
from ._shared.two_digits import SPLITS, Compositions, Pool, TwoDigits

SIDE = 28
"""A digit's side on the canvas in pixels."""

_TORCHVISION = {"MNIST": torchvision_datasets.MNIST, "FashionMNIST": torchvision_datasets.FashionMNIST}
"""Name of a source's folder → the class that reads and downloads it."""

_KINDS = {"mnist": ("MNIST", "MNIST"), "fashion": ("FashionMNIST", "FashionMNIST"), "mixed": ("MNIST", "FashionMNIST")}
"""What stands on the left and on the right, by the option `source`."""

_RAW = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_VAL_EVERY = 6
_VAL_SIZE = 10_000

TREE = """\
ROOT/
  MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte           (source=mnist, mixed)
  FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte    (source=fashion, mixed)"""


class MultiMNIST(TwoDigits):
    """Two MNIST digits or FashionMNIST items on one canvas: which is on the left, which on the right?

    Sabour et al., NeurIPS 2017, arXiv:1710.09829; as multi-task learning by Sener and Koltun, NeurIPS 2018,
    arXiv:1810.04650. Digits stand at fixed places here, without jitter.

    The options `offset=6 shrink=28 pairing=left_in_order val_cut=last train=50000 val=10000` compose the images as published
    code does (`_shared/published_pairs.py` says which code does what). What still differs from Sener and Koltun: other
    random partners (theirs are not seeded); a sixth of the training digits is val; the canvas is not stretched to the full
    range of values first, which changes images whose brightest pixel is below 255; images have three equal channels; they
    are normalised by 0.15 and 0.32 instead of 0.1307 and 0.3081. From PaMaL: val shares no digit with train, and bicubic
    values are rounded to bytes.
    """

    source: Literal["mnist", "fashion", "mixed"] = Hyper(
        "mnist", help="mnist, fashion, or mixed: a digit left, an item right"
    )
    size: int = Hyper(36, gt=28, le=112, help="side of the canvas in pixels; digits are 28 wide and overlap below 56")
    train: int = Hyper(20000, ge=1, le=10_000_000, help="number of training compositions")
    val: int = Hyper(5000, ge=1, le=10_000_000, help="number of validation compositions")
    test: int = Hyper(10000, ge=1, le=10_000_000, help="number of test compositions")
    seed: int = Hyper(0, ge=0, lt=2**32, help="seed of the pairing")
    offset: int = Hyper(0, ge=0, le=84, help="pixels from left to right digit, down and across; 0: to the canvas's corner")
    shrink: int = Hyper(0, ge=0, le=112, help="side that the canvas is shrunk to in pixels: published 28; 0: not at all")
    interpolation: Interpolation = Hyper("nearest", help="how the canvas is shrunk")
    pairing: Pairing = Hyper(
        "even", help="even: each digit equally often on each side; left_in_order, both_random: drawn as published"
    )
    val_cut: Literal["every_6th", "last"] = Hyper(
        "every_6th", help="which of the official training digits are val's: every 6th, or the last 10,000 (Kurin et al.)"
    )

    card: ClassVar[Card] = Card(
        title="MultiMNIST (composed from MNIST, 1998, and FashionMNIST, 2017)",
        summary="Two overlapping 28-pixel digits or clothing items on one canvas, classified left and right.",
        source="MNIST: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/; FashionMNIST: Xiao, Rasul and Vollgraf, "
        "https://github.com/zalandoresearch/fashion-mnist; composition after Sabour et al., NeurIPS 2017",
        licence="MNIST: CC BY-SA 3.0; FashionMNIST: MIT",
        obtain="Without a folder, torchvision downloads the files. To name one: --data ROOT (make: DATA=ROOT), in "
        "torchvision's layout. The datasets multidigits and streets run without any download.",
        tree=TREE,
        defects=(
            "published MultiMNIST sets differ in canvas, jitter, number and pairing, and none was published as files: the "
            "options compose what published code composes, with other random partners",
            "the two digits of an image may be of one class",
        ),
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "backbone": "resnet_tiny",
        "output_stride": 32,
        "epochs": 2,
        "batch_size": 64,
        "lr": 3e-3,
    }
    mean: ClassVar[tuple[float, float, float]] = (0.15, 0.15, 0.15)
    std: ClassVar[tuple[float, float, float]] = (0.32, 0.32, 0.32)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        side = self.shrink or self.size
        return side, side

    @cached_property
    def compositions(self) -> Compositions:
        """All compositions; made once.

        Raises:
            UserError: digits would leave the canvas, or it would grow.
        """
        if self.offset + SIDE > self.size:
            raise UserError(
                f"multimnist: offset = {self.offset} puts the right digit off the canvas: expected at most "
                f"{self.size - SIDE}, or a larger size."
            )
        if self.shrink > self.size:
            raise UserError(f"multimnist: shrink = {self.shrink} is larger than the canvas (size = {self.size}).")
        if self.pairing == "even" and not self.offset and not self.shrink:
            return super().compositions
        pools, counts = self.pools(), {"train": self.train, "val": self.val, "test": self.test}
        if self.pairing == "even":
            pairs = Compositions.draw(self.size, pools, counts, self.seed).pairs
        else:
            pairs = draw_pairs(self.pairing, pools, counts, self.seed)
        offset = self.offset or self.size - SIDE
        return PublishedPairs(self.size, pools, pairs, offset, self.shrink, self.interpolation)

    @cached_property
    def folder(self) -> Path:
        """The folder that holds torchvision's layout; downloaded into a cache when none was named.

        Raises:
            UserError: the named folder lacks the files, or they could not be downloaded.
        """
        places = [Path("data"), cache_folder()] if self.root is None else [self.root]
        places += [place / "torchvision" for place in places[:1]]
        for place in places:
            if all(path.is_file() for path in self._paths(place)):
                return place
        if self.root is None and (reason := self._download(cache_folder())) is None:
            return cache_folder()
        failed = "" if self.root is not None else f" and could not be downloaded ({reason})"
        looked = ", ".join(str(place.absolute()) for place in places)
        raise UserError(
            f"multimnist: {' and '.join(self._names())} not found{failed}: looked in {looked}. {self.card.obtain}\n"
            f"Expected:\n{self.card.tree}"
        )

    def pools(self) -> Mapping[str, tuple[Pool, Pool]]:
        """The pictures of both sides; reads the files."""
        pools = {name: self._pools(name) for name in self._names()}
        left, right = _KINDS[self.source]
        return {split: (pools[left][split], pools[right][split]) for split in SPLITS}

    def files(self) -> Sequence[Path]:
        """The raw idx files."""
        return self._paths(self.folder)

    def downloads(self) -> Sequence[Download]:
        """The raw files, from torchvision's addresses with its checksums."""
        downloads: list[Download] = []
        for name in self._names():
            source = _TORCHVISION[name]
            for file, md5 in source.resources:
                addresses = tuple(mirror + file for mirror in source.mirrors)
                downloads.append(Download(addresses, f"{name}/raw/{file}", md5))
        return downloads

    def split_rule(self) -> str:
        """How val was cut from train."""
        if self.val_cut == "last":
            return (
                f"by source picture: the last {_VAL_SIZE:,} of the official train are val's (a sixth of smaller sets), the "
                "rest train's; test: the official test; compositions never mix splits"
            )
        return (
            f"by source picture: every {_VAL_EVERY}th of the official train (number divided by {_VAL_EVERY} leaves "
            f"{_VAL_EVERY - 1}) is val's, the rest train's; test: the official test; compositions never mix splits"
        )

    def _names(self) -> list[str]:
        return sorted(set(_KINDS[self.source]), key=_KINDS[self.source].index)

    def _paths(self, root: Path) -> list[Path]:
        return [root / name / "raw" / raw for name in self._names() for raw in _RAW]

    def _download(self, root: Path) -> str | None:
        """Have torchvision download what is missing; the reason if it cannot."""
        try:
            for name in self._names():
                _TORCHVISION[name](root, download=True)
        except (RuntimeError, OSError) as error:
            return str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        return None

    def _pools(self, name: str) -> dict[str, Pool]:
        train, test = (self._read(name, official) for official in (True, False))
        held_out = train.sources % _VAL_EVERY == _VAL_EVERY - 1
        if self.val_cut == "last":
            held_out = train.sources >= len(train.sources) - min(_VAL_SIZE, len(train.sources) // _VAL_EVERY)
        return {
            "train": train.subset(np.flatnonzero(~held_out)),
            "val": train.subset(np.flatnonzero(held_out)),
            "test": test,
        }

    def _read(self, name: str, train: bool) -> Pool:
        try:
            data = _TORCHVISION[name](self.folder, train=train, download=False)
            images, labels = data.data.numpy(), data.targets.numpy()
        except (RuntimeError, ValueError, AssertionError, IndexError, OSError) as error:
            part = f"{'train' if train else 't10k'} file in {(self.folder / name / 'raw').absolute()}"
            raise UserError(
                f"multimnist: a {part} is damaged ({error or 'not in idx format'}). Delete it and get it again."
            ) from None
        if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or not len(labels):
            raise UserError(
                f"multimnist: {name} in {self.folder} holds {images.shape} images and {len(labels)} labels, not pairs."
            )
        return Pool(images, labels, np.arange(len(labels)))


def cache_folder() -> Path:
    """Where downloads go: `mtlbench/torchvision` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mtlbench" / "torchvision"
