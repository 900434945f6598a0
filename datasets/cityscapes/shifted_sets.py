"""Where shifted test sets of Cityscapes lie: its val frames with synthetic fog or rain, and ACDC's val.

Foggy Cityscapes: Sakaridis et al., IJCV 2018, arXiv:1708.07819. RainCityscapes: Hu et al., CVPR 2019. ACDC: Sakaridis et
al., ICCV 2021, arXiv:2104.13395.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mtlbench.contract import Key

from .._shared.folders import Folders

SYNTHETIC = {
    "foggy": ("leftImg8bit_foggy", re.compile(r".+_leftImg8bit_foggy_beta_([\d.]+)\.png")),
    "rain": (
        "leftImg8bit_rain",
        re.compile(r".+_leftImg8bit_rain_alpha_([\d.]+)_beta_[\d.]+_dropsize_[\d.]+_pattern_\d+\.png"),
    ),
}
"""First part of a key → folder, and a file's name; its group is the severity: fog's attenuation β in 1/m, or rain's α."""

ACDC = {"acdc-fog": "fog", "acdc-night": "night", "acdc-rain": "rain", "acdc-snow": "snow"}
"""First part of a key → folder of the condition."""
_ACDC_IMAGE, _ACDC_LABEL = "_rgb_anon.png", "_gt_labelIds.png"


def shifted_splits(folders: Folders, folder: Path, *, with_acdc: bool) -> dict[str, list[Key]]:
    """The shifted test sets that there are below `folder`: split → keys (set, city or sequence, stem), ordered by name.

    Raises:
        UserError: images of a condition of ACDC without the folder of their labels.
    """
    splits: dict[str, list[Key]] = defaultdict(list)
    for name in SYNTHETIC:
        for severity, key in _synthetic(folder, name):
            splits[f"test-{name}-{severity}"].append(key)
    for name, condition in ACDC.items() if with_acdc else ():
        for path in sorted((folder / "rgb_anon" / condition / "val").glob(f"*/*{_ACDC_IMAGE}")):
            splits[f"test-{name}"].append((name, path.parent.name, path.name.removesuffix(_ACDC_IMAGE)))
        if f"test-{name}" in splits:
            folders.require(folder, f"gt/{condition}/val")
    return dict(sorted(splits.items()))


def _synthetic(folder: Path, name: str) -> Iterator[tuple[str, Key]]:
    """(severity, key) of every image of one set."""
    place, pattern = SYNTHETIC[name]
    for path in sorted((folder / place / "val").glob("*/*.png")):
        if match := pattern.fullmatch(path.name):
            yield match[1], (name, path.parent.name, path.stem)


def synthetic_image(folder: Path, name: str, city: str, stem: str) -> Path:
    """The image of a key of `SYNTHETIC`."""
    return folder / SYNTHETIC[name][0] / "val" / city / f"{stem}.png"


def clean_stem(stem: str) -> str:
    """CITY_SEQUENCE_FRAME of a key of `SYNTHETIC`: the frame of the official val whose labels hold."""
    return stem.partition("_leftImg8bit_")[0]


def acdc_paths(folder: Path, name: str, sequence: str, stem: str) -> tuple[Path, Path]:
    """Image and label ids of a key of `ACDC`."""
    place = Path(ACDC[name]) / "val" / sequence
    return folder / "rgb_anon" / place / f"{stem}{_ACDC_IMAGE}", folder / "gt" / place / f"{stem}{_ACDC_LABEL}"
